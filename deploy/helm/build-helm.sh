#!/usr/bin/env bash
# Build Helm from the source of its published Go module, for the tests of the chart and for networks without Helm's own downloads.
#   deploy/helm/build-helm.sh [DIR]        → DIR/helm (default: build/helm in the project; one already there is kept)
# Needs Go 1.26 or later and a Go module proxy; about a minute on two cores.
set -euo pipefail

version=v3.22.0
dir=${1:-$(cd "$(dirname "$0")/../.." && pwd)/build/helm}
dir=$(mkdir -p "$dir" && cd "$dir" && pwd)

[ -x "$dir/helm" ] || GOBIN=$dir go install "helm.sh/helm/v3/cmd/helm@$version" >&2
echo "$dir/helm"
