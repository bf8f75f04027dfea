#!/usr/bin/env bash
# Compiles the core for Windows with the Clang of the package `ziglang`, and runs tests of it under Wine. Wine is not Windows:
# what it cannot show is listed in docs/releasing.md.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=$PWD/build/windows googletest=/usr/src/googletest
python=$PWD/.venv/bin/python
command -v wine > /dev/null || { echo "wine is missing: apt-get install wine wine64" >&2; exit 1; }
zig=$("$python" -c 'import pathlib, ziglang; print(pathlib.Path(ziglang.__file__).with_name("zig"))')

# CMake takes one program for each tool, without arguments.
mkdir -p "$folder/tools"
tool() { printf '#!/bin/sh\nexec "%s" %s "$@"\n' "$zig" "$2" > "$folder/tools/$1" && chmod +x "$folder/tools/$1"; }
tool c++ 'c++ -target x86_64-windows-gnu'
tool cc 'cc -target x86_64-windows-gnu'
tool ar ar
tool ranlib ranlib
tool rc rc
export WINEPREFIX=$folder/wine WINEDEBUG=-all

# Compiling takes longer than running. These cover files, memory, threads, every kind of kernel and whole trainings.
tests='test_files;test_error;test_safetensors;test_c_interface;test_gemm;test_math;test_model;test_trainer'

# The tests contain the static library. The DLL is built beside it.
cmake -G Ninja -S . -B "$folder/build" -DPython_EXECUTABLE="$python" \
  -DCMAKE_SYSTEM_NAME=Windows -DCMAKE_SYSTEM_PROCESSOR=AMD64 -DCMAKE_BUILD_TYPE=Release \
  -DCMAKE_CXX_COMPILER="$folder/tools/c++" -DCMAKE_C_COMPILER="$folder/tools/cc" -DCMAKE_AR="$folder/tools/ar" \
  -DCMAKE_RANLIB="$folder/tools/ranlib" -DCMAKE_RC_COMPILER="$folder/tools/rc" -DCMAKE_CROSSCOMPILING_EMULATOR=wine \
  -DFETCHCONTENT_SOURCE_DIR_GOOGLETEST="$googletest" -DSTOOP_UNITY_BUILD=ON \
  -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON -DSTOOP_WARNINGS_AS_ERRORS="${WERROR:-OFF}" \
  -DBUILD_SHARED_LIBS=ON -DSTOOP_BUILD_TESTS=ON -DSTOOP_ONLY_TESTS="${TESTS:-$tests}" > "$folder/configure.log" || { cat "$folder/configure.log"; exit 1; }
cmake --build "$folder/build"
# Sweeps that count ulps, and that over all cuts of a product, take minutes.
export GTEST_FILTER='-*Ulp*:*BitsDoNotDependOnTheSlice'
ctest --test-dir "$folder/build" --no-tests=error --output-on-failure

# A program in C with the DLL.
cd "$folder/build"
"$folder/tools/cc" -std=c99 -O2 -Wall -Wextra -Werror -I ../../../cpp/include ../../../examples/c/train.c libstoop.dll.a -o train.exe
STOOP_ISA=scalar wine train.exe rings.safetensors
wine train.exe rings.safetensors
