#!/usr/bin/env bash
# Builds the C++ tests with sanitizers and runs them. Usage: sanitize.sh asan | tsan
set -euo pipefail
cd "$(dirname "$0")/../.."
tools=$PWD/tests/tools
export CMAKE_BUILD_PARALLEL_LEVEL=${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}
export CTEST_OUTPUT_ON_FAILURE=1

build() {  # build PRESET [cmake options...]
  local preset=$1
  shift
  mkdir -p build
  local python=()
  if [ -x .venv/bin/python ]; then python=(-DPython_EXECUTABLE="$PWD/.venv/bin/python"); fi
  cmake --preset "$preset" -G Ninja "${python[@]}" "$@" > "build/$preset.log" || { cat "build/$preset.log"; return 1; }
  cmake --build "build/$preset"
}

case "$1" in
  asan)
    build asan
    # Reports are failures, and a leak at exit is one of them.
    export ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1
    export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
    ctest --test-dir build/asan --no-tests=error
    ;;
  tsan)
    # GCC's libgomp synchronises with futexes that TSan cannot see, so each barrier looks like a race. LLVM's run-time
    # comes with Archer, which tells TSan about OpenMP's synchronisation; it loads by itself where it is installed.
    export TSAN_OPTIONS="ignore_noninstrumented_modules=1 suppressions=$tools/tsan.supp second_deadlock_stack=1"
    run=()
    # Newer kernels randomise addresses further than older TSan run-times can follow.
    if setarch "$(uname -m)" -R true 2> /dev/null; then run=(setarch "$(uname -m)" -R); fi
    mkdir -p build
    probe=$PWD/build/tsan-probe
    printf '#include <omp.h>\nint main() {\n#pragma omp parallel\n  { omp_get_thread_num(); }\n}\n' > "$probe.cpp"
    clang=''
    for candidate in clang++ clang++-{21,20,19,18,17,16,15,14}; do
      if command -v "$candidate" > /dev/null &&
        "$candidate" -fopenmp -fsanitize=thread "$probe.cpp" -o "$probe" 2> /dev/null &&
        ARCHER_OPTIONS=verbose=1 "${run[@]}" "$probe" 2>&1 | grep -q 'Archer detected'; then
        clang=$candidate
        break
      fi
    done
    if [ -z "$clang" ]; then
      echo "sanitize.sh: ThreadSanitizer needs Clang, its OpenMP run-time and Archer (Debian: clang, libomp-dev)" >&2
      exit 1
    fi
    build tsan -DCMAKE_CXX_COMPILER="$clang"
    "${run[@]}" ctest --test-dir build/tsan --no-tests=error
    ;;
  *)
    echo "usage: sanitize.sh asan | tsan" >&2
    exit 2
    ;;
esac
