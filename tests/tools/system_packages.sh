#!/usr/bin/env bash
# Installs Debian packages that a step of the Makefile can use, where apt is there, they are missing, and we may.
# Elsewhere it says nothing and succeeds: CMake then downloads what it lacks, or the step itself names what is missing.
# Usage: system_packages.sh python PYTHON | compiler | cpp-tests | cpp-bench | postgresql | browser | arm | qemu | aarch64 |
#   windows | languages | clang
set -euo pipefail

have() { command -v "$1" > /dev/null 2>&1; }
installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2> /dev/null || true)" = installed ]; }

as_root=()
may_install() {
  have apt-get && have dpkg-query || return 1
  [ "$(id -u)" -eq 0 ] && return 0
  have sudo && sudo -n true 2> /dev/null && as_root=(sudo -n) && return 0
  return 1
}

install_packages() {
  local missing=() package
  may_install || return 0
  for package in "$@"; do installed "$package" || missing+=("$package"); done
  [ ${#missing[@]} -eq 0 ] && return 0
  echo "== apt-get install ${missing[*]}"
  local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0)
  "${apt[@]}" install -y --no-install-recommends "${missing[@]}" < /dev/null > /dev/null 2>&1 && return 0
  "${apt[@]}" update < /dev/null > /dev/null 2>&1 || true
  "${apt[@]}" install -y --no-install-recommends "${missing[@]}" < /dev/null > /dev/null ||
    echo "   apt-get could not install them; going on without"
}

case "$1" in
  python)
    # Debian splits venv and the C headers from its own python3.
    have "$2" || install_packages python3
    "$2" -c 'import ensurepip' 2> /dev/null || install_packages python3-venv
    "$2" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' ||
      install_packages python3-dev
    ;;
  compiler)
    [ -n "${CXX:-}" ] || have c++ || have g++ || have clang++ || install_packages g++
    ;;
  cpp-tests)
    install_packages libgtest-dev
    have pkg-config || install_packages pkg-config
    ;;
  cpp-bench) install_packages libbenchmark-dev ;;
  postgresql) [ -d /usr/lib/postgresql ] || install_packages postgresql ;;
  arm)
    { have arm-none-eabi-gcc && have qemu-arm && have qemu-system-arm; } ||
      install_packages gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-user qemu-system-arm
    ;;
  qemu) have qemu-x86_64 || install_packages qemu-user ;;
  aarch64)
    have qemu-aarch64 || install_packages qemu-user
    have aarch64-linux-gnu-g++ || install_packages g++-aarch64-linux-gnu
    install_packages libgtest-dev
    ;;
  windows)
    have wine || install_packages wine wine64
    [ -d /usr/src/googletest ] || install_packages libgtest-dev
    ;;
  browser) have chromium || install_packages chromium ;;
  languages)
    # What the examples of the C interface are written in, and the other OpenMP runtime.
    have gfortran || install_packages gfortran
    have rustc || install_packages rustc
    install_packages libomp-dev
    ;;
  clang)
    # The distribution's default version, with what its packages merely recommend: the sanitizers' run-times.
    may_install || exit 0
    version=$(apt-cache depends clang 2> /dev/null | sed -n 's/.*Depends: clang-\([0-9]*\)$/\1/p' | head -n 1)
    version=${version:-14}
    install_packages "clang-$version" "libclang-rt-$version-dev"
    ;;
  *)
    echo "system_packages.sh: unknown group '$1'" >&2
    exit 2
    ;;
esac
