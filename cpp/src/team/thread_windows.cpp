// Threads of Windows, which knows no signals that a thread could block.
#include <process.h>
#include <windows.h>

#include <cstdint>

#include "thread.hpp"

namespace stoop::inline v0_1 {
namespace {

// Threads sleep in the code of the library until the process ends, so FreeLibrary must not unload it.
bool keep_loaded() {
  constexpr DWORD kFlags = GET_MODULE_HANDLE_EX_FLAG_PIN | GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS;
  HMODULE module = nullptr;
  return ::GetModuleHandleExW(kFlags, reinterpret_cast<const wchar_t*>(&keep_loaded), &module) != 0;
}

}  // namespace

bool Thread::create(Handle& handle, Result (*run)(void*), void* given) {
  static const bool is_kept = keep_loaded();
  static_cast<void>(is_kept);
  const std::uintptr_t made = ::_beginthreadex(nullptr, 0, run, given, 0, nullptr);
  handle = reinterpret_cast<Handle>(made);
  return made != 0;
}

void Thread::wait_for(Handle handle) {
  ::WaitForSingleObject(handle, INFINITE);
  ::CloseHandle(handle);
}

void Thread::forget(Handle handle) { ::CloseHandle(handle); }

}  // namespace stoop
