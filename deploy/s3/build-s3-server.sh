#!/usr/bin/env bash
# Build a real S3-compatible server, for the tests only: versitygw (Apache 2.0), which keeps each object as a file of a folder.
# In operation use the object store you have. Needs Go 1.24 or later and a Go module proxy; about two minutes on two cores.
# usage: deploy/s3/build-s3-server.sh DIR      → DIR/versitygw (kept if it is there)
set -euo pipefail

version=v1.8.0
dir=$(mkdir -p "${1:?usage: build-s3-server.sh DIR}" && cd "$1" && pwd)

if [ ! -x "$dir/versitygw" ]; then
  GOBIN="$dir" go install "github.com/versity/versitygw/cmd/versitygw@$version"
fi
echo "$dir/versitygw"
