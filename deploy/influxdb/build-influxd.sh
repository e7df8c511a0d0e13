#!/usr/bin/env bash
# Build the InfluxDB 2 server from the source of its published Go module and print the path of the binary.
#
#   deploy/influxdb/build-influxd.sh [DIR]        (default: build/influxdb in the project; a server already there is kept)
#
# InfluxData's own packages serve as well where they can be had; this is for networks and processors (ARM) where they cannot.
# The server needs no web pages to keep charts, so its user interface is left out.
#
# Needs Go 1.23 or later, Rust (cargo, for the Flux engine) and a C compiler. About a minute on two cores, 2 GB of memory.
set -euo pipefail

version=v2.7.12
module=github.com/influxdata/influxdb/v2
here=$(cd "$(dirname "$0")/../.." && pwd)
target=${1:-$here/build/influxdb}

mkdir -p "$target"
target=$(cd "$target" && pwd)
if [ -x "$target/influxd" ]; then
    echo "$target/influxd"
    exit 0
fi
for tool in go cargo cc; do
    command -v "$tool" >/dev/null || { echo "$0: $tool is missing; install Go, Rust and a C compiler" >&2; exit 1; }
done

scratch=$(mktemp -d)
# Go marks the files of a module read-only, and rm would stop at them.
trap 'chmod -R u+w "$scratch"; rm -rf "$scratch"' EXIT

# The Flux engine forbids warnings, and newer compilers warn about more than the one it was written for.
cat > "$scratch/rustc" <<'END'
#!/bin/sh
exec "$@" --cap-lints allow
END
chmod +x "$scratch/rustc"
export RUSTC_WRAPPER=$scratch/rustc CARGO_BUILD_RUSTC_WRAPPER=$scratch/rustc
# A stable compiler, where several are installed: a pinned older one may not know the crates' language.
if command -v rustup >/dev/null; then
    stable=$(rustup toolchain list | awk '/^stable/ { print $1; exit }')
    [ -z "$stable" ] || export RUSTUP_TOOLCHAIN=$stable
fi
export GOTOOLCHAIN=local GOFLAGS=-mod=mod

# This pkg-config builds the Flux engine when Go asks for it.
GOBIN=$scratch/bin go install github.com/influxdata/pkg-config@latest >&2
source=$(cd "$scratch" && go mod download -json "$module@$version" | sed -n 's/^[[:space:]]*"Dir": "\(.*\)",*$/\1/p')
cp -r "$source" "$scratch/source"
chmod -R u+w "$scratch/source"
(cd "$scratch/source" && PKG_CONFIG=$scratch/bin/pkg-config go build -o "$scratch/influxd" ./cmd/influxd) >&2
mv "$scratch/influxd" "$target/influxd"
echo "$target/influxd"
