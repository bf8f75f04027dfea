// What every public header begins with: the language it needs, and the mark of what a shared library exports.
#pragma once

#if __cplusplus < 202002L
#error "stoop needs C++20: compile with -std=c++20; CMake does so for targets that link stoop::stoop"
#endif

// Public names alone are exported from a shared library, and none from a program that links the static one, which is why
// the static one is built, and used, with STOOP_STATIC.
#ifdef STOOP_STATIC
#define STOOP_API
#define STOOP_PRIVATE
#else
#define STOOP_API __attribute__((visibility("default")))
#define STOOP_PRIVATE __attribute__((visibility("hidden")))  // inside a class that is exported
#endif
