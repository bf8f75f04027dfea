// Every public header includes this one. It checks the language version and defines the mark of exported names.
#pragma once

#if __cplusplus < 202002L
#error "stoop needs C++20: compile with -std=c++20; CMake does so for targets that link stoop::stoop"
#endif

// A shared library exports the public names and nothing else. A program that links the static library exports none of
// them; for that the static library is built, and used, with STOOP_STATIC. STOOP_EXPORTS is for the build of a DLL alone.
#if defined(STOOP_STATIC)
#define STOOP_API
#define STOOP_PRIVATE
#elif defined(_WIN32)
#if defined(STOOP_EXPORTS)
#define STOOP_API __declspec(dllexport)
#else
#define STOOP_API __declspec(dllimport)
#endif
#define STOOP_PRIVATE
#else
#define STOOP_API __attribute__((visibility("default")))
#define STOOP_PRIVATE __attribute__((visibility("hidden")))  // inside a class that is exported
#endif
