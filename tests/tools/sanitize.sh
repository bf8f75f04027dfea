#!/usr/bin/env bash
# Builds the C++ tests with sanitizers and runs them. Usage: sanitize.sh asan | tsan
set -euo pipefail
cd "$(dirname "$0")/../.."
tools=$PWD/tests/tools
export CMAKE_BUILD_PARALLEL_LEVEL=${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}
export CTEST_PARALLEL_LEVEL=${CTEST_PARALLEL_LEVEL:-$CMAKE_BUILD_PARALLEL_LEVEL}
export CTEST_OUTPUT_ON_FAILURE=1
mkdir -p build

run=()
# Newer kernels randomise addresses further than older TSan run-times can follow.
if setarch "$(uname -m)" -R true 2> /dev/null; then run=(setarch "$(uname -m)" -R); fi

# Sets clang to one that has the sanitizers.
clang=''
find_clang() {
  local candidate probe=$PWD/build/sanitizer-probe
  printf 'int main() {}\n' > "$probe.cpp"
  for candidate in clang++ clang++-{22,21,20,19,18,17,16,15,14}; do
    command -v "$candidate" > /dev/null || continue
    "$candidate" -fsanitize=address,undefined "$probe.cpp" -o "$probe" 2> /dev/null || continue
    "$candidate" -fsanitize=thread "$probe.cpp" -o "$probe" 2> /dev/null || continue
    clang=$candidate
    return 0
  done
  return 1
}

build() {  # build PRESET [cmake options...]
  local preset=$1 python=()
  shift
  if [ -x .venv/bin/python ]; then python=(-DPython_EXECUTABLE="$PWD/.venv/bin/python"); fi
  cmake --preset "$preset" -G Ninja "${python[@]}" "$@" > "build/$preset.log" || { cat "build/$preset.log"; return 1; }
  cmake --build "build/$preset"
}

# The kernels of all instruction sets have one text, and take long to compile: beside the scalar ones those of the widest set
# are enough, with the products in bfloat16 that this CPU has.
widest_kernels() {
  local flags set
  flags=$(grep -m 1 '^flags' /proc/cpuinfo || true)
  case " $flags " in
    *' avx512vl '*)
      for set in avx512 avx512_bf16 amx_bf16; do
        if [[ " $flags " == *" $set "* || $set == avx512 ]]; then printf '%s;' "$set"; fi
      done
      ;;
    *' avx2 '*) printf 'avx2' ;;
    *) printf 'neon' ;;
  esac
}

find_clang || { bash "$tools/system_packages.sh" clang && find_clang; } || true

case "$1" in
  asan)
    # Clang where there is one: GCC 12 takes four times as long over the kernels with UBSan.
    compiler=()
    if [ -n "$clang" ]; then compiler=(-DCMAKE_CXX_COMPILER="$clang"); fi
    build asan "${compiler[@]}" -DSTOOP_VECTOR_KERNELS="$(widest_kernels)"
    export ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1
    export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
    ctest --test-dir build/asan --no-tests=error
    ;;
  tsan)
    # Clang where there is one, as for asan.
    compiler=()
    if [ -n "$clang" ]; then compiler=(-DCMAKE_CXX_COMPILER="$clang"); fi
    build tsan "${compiler[@]}"
    export TSAN_OPTIONS="second_deadlock_stack=1"
    # Kernels, plans and first values are made by one thread, and take minutes under TSan; what teams run remains.
    export GTEST_FILTER='-Activations/*:Math/*:Gemm/*:Kernels/*:NormalizationKernels/*:Losses/*:Updates/*:Dropouts/*:Each/Bfloat16*'
    GTEST_FILTER+=':Plan.*:Initialize.*:Precision.*:Interruption.*:ChangingLabels.*'
    "${run[@]}" ctest --test-dir build/tsan --no-tests=error
    ;;
  *)
    echo "usage: sanitize.sh asan | tsan" >&2
    exit 2
    ;;
esac
