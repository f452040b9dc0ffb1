#!/usr/bin/env bash
# Installs the dependencies of `cargo build --release --features mpi`: Open MPI with its headers, and libclang
# for bindings to them.
#
#   scripts/setup-mpi.sh
#   mpirun -np 2 target/release/fineline train CONFIG
#
# For Debian and Ubuntu, as root or with sudo. On a cluster, load the site's MPI module instead. The build
# uses its `mpicc`.
set -euo pipefail

if command -v mpicc >/dev/null && command -v mpirun >/dev/null &&
    ls /usr/lib/llvm-*/lib/libclang*.so* >/dev/null 2>&1; then
    mpirun --version | head -n 1
    exit 0
fi
sudo=$([ "$(id -u)" = 0 ] || echo sudo)
$sudo apt-get update
$sudo env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y --no-install-recommends libopenmpi-dev openmpi-bin libclang-dev
mpirun --version | head -n 1
