# Debian's cross compiler for AArch64. With AARCH64_ROOT in the environment, extension modules are for the Python that
# tests/tools/aarch64_python.sh has unpacked there.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L /usr/aarch64-linux-gnu)

if(DEFINED ENV{AARCH64_ROOT})
  # The interpreter that runs while CMake configures is that of this machine, of the same version. Debian's pyconfig.h
  # includes the one of the processor from the folder above.
  set(Python_EXECUTABLE "$ENV{AARCH64_PYTHON}")
  set(Python_INCLUDE_DIR "$ENV{AARCH64_ROOT}/usr/include/$ENV{AARCH64_PYTHON_NAME}")
  include_directories(SYSTEM "$ENV{AARCH64_ROOT}/usr/include")
  set(PYTHON_MODULE_EXTENSION "$ENV{SETUPTOOLS_EXT_SUFFIX}")  # of pybind11
endif()
