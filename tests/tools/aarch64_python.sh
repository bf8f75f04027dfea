#!/usr/bin/env bash
# Unpacks Debian's Python for AArch64, its headers and what it needs into a folder; nothing of this system is changed.
# Usage: aarch64_python.sh FOLDER VERSION
set -euo pipefail
folder=$1 python=python$2
mkdir -p "$folder"
cd "$folder"
[ -e unpacked-"$python" ] && exit 0
command -v apt-get > /dev/null || { echo "aarch64_python.sh: apt-get is missing; Debian's packages are what it unpacks" >&2; exit 1; }

# The archives of this system, for another processor and as if nothing were installed.
mkdir -p apt/state/lists/partial apt/cache/archives/partial root
: > apt/state/status
cat > apt/apt.conf << EOF
Dir::State "$PWD/apt/state";
Dir::State::status "$PWD/apt/state/status";
Dir::Cache "$PWD/apt/cache";
Acquire::Languages "none";
APT::Sandbox::User "root";
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
EOF
export APT_CONFIG=$PWD/apt/apt.conf
apt-get -qq update > apt/log 2>&1 || true  # an archive without this processor is no matter
# libstdc++ is what the wheel needs.
apt-get -qq install --yes --download-only --no-install-recommends "$python" "lib$python-dev" libstdc++6 > apt/log 2>&1 ||
  { cat apt/log >&2; echo "aarch64_python.sh: apt-get finds no $python for arm64 in the archives of this system" >&2; exit 1; }
for package in apt/cache/archives/*.deb; do dpkg -x "$package" root; done
touch unpacked-"$python"
