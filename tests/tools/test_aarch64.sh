#!/usr/bin/env bash
# Compiles the core for AArch64 with Debian's cross compiler, and runs tests of its kernels under QEMU: those of NEON and the
# scalar ones, and what is computed with them.
set -euo pipefail
cd "$(dirname "$0")/../.."
googletest=/usr/src/googletest folder=build/aarch64
for need in aarch64-linux-gnu-g++ qemu-aarch64; do
  command -v "$need" > /dev/null || { echo "$need is missing: apt-get install g++-aarch64-linux-gnu qemu-user" >&2; exit 1; }
done

# Compiling takes longer than running. These cover every kind of kernel and whole trainings.
tests='test_activation;test_gemm;test_kernels;test_loss_kernels;test_math;test_normalization_kernels;test_update_kernels'
tests+=';test_column_kernels;test_member_kernels;test_optimizers;test_cpu_features'
python=()
if [ -x .venv/bin/python ]; then python=(-DPython_EXECUTABLE="$PWD/.venv/bin/python"); fi

mkdir -p build
cmake -G Ninja -S . -B "$folder" "${python[@]}" -DCMAKE_TOOLCHAIN_FILE=tests/tools/aarch64_toolchain.cmake \
  -DFETCHCONTENT_SOURCE_DIR_GOOGLETEST="$googletest" -DSTOOP_BUILD_TESTS=ON -DSTOOP_UNITY_BUILD=ON \
  -DSTOOP_WARNINGS_AS_ERRORS="${WERROR:-OFF}" -DSTOOP_ONLY_TESTS="$tests" > build/aarch64.log || { cat build/aarch64.log; exit 1; }
cmake --build "$folder"
# Under the emulator the sweeps that count ulps, and the test that cuts products at each of their rows, take minutes each. The
# other tests take five minutes for each instruction set.
export GTEST_FILTER='-*Ulp*:*BitsDoNotDependOnTheSlice'
ctest --test-dir "$folder" --no-tests=error --output-on-failure
