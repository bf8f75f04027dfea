#!/usr/bin/env bash
# Cross-compiles the wheel of this version of Python for AArch64, into dist/. The folder gets Debian's Python for AArch64, which
# QEMU runs. Usage: wheel_aarch64.sh FOLDER, with .venv ready to build and auditwheel in it.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=$PWD/$1 python=$PWD/.venv/bin/python
for need in aarch64-linux-gnu-g++ qemu-aarch64; do
  command -v "$need" > /dev/null || { echo "$need is missing: apt-get install g++-aarch64-linux-gnu qemu-user" >&2; exit 1; }
done
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
bash tests/tools/aarch64_python.sh "$folder" "$version"

# The build asks the Python that runs it, which is of this machine; these name the one that the wheel is for.
export AARCH64_ROOT=$folder/root AARCH64_PYTHON=$python AARCH64_PYTHON_NAME=python$version
export _PYTHON_HOST_PLATFORM=linux-aarch64 SETUPTOOLS_EXT_SUFFIX=.cpython-${version/./}-aarch64-linux-gnu.so
rm -rf "$folder/wheel" dist/stoop-*_aarch64.whl
"$python" -m build --no-isolation --wheel --outdir "$folder/wheel" -C build-dir="$folder/build" \
  -C cmake.toolchain-file="$PWD/tests/tools/aarch64_toolchain.cmake" -C cmake.python-hints=false \
  -C cmake.define.STOOP_WARNINGS_AS_ERRORS="${WERROR:-OFF}" -C cmake.define.STOOP_UNITY_BUILD=ON . > build/wheel-aarch64.log ||
  { cat build/wheel-aarch64.log; exit 1; }
PATH=$PWD/.venv/bin:$PATH "$python" -m auditwheel repair --wheel-dir dist "$folder"/wheel/*.whl
