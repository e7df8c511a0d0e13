#!/usr/bin/env bash
# Pack everything that a machine without a network needs into one directory: wheels, Kafka, InfluxDB, documents, a bill of materials.
#   make setup && bash deploy/bundle.sh DIR
# It is for machines like this one: same processor, same series of Python. For ARM64 run it on ARM64; a package without a wheel for the
# processor is built here, from its locked source, so that the other machine needs no compiler.
# On the other machine: bash DIR/install.sh. Needs a package index, Maven, and for InfluxDB Go and Rust; a server already built in build/
# is taken as it is. PostgreSQL, Java and Prometheus come from the distribution.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=$root/.venv/bin/python
dir=$(mkdir -p "${1:?usage: bundle.sh DIR}" && cd "$1" && pwd)
[ -z "$(ls -A "$dir")" ] || { echo "bundle.sh: $dir is not empty; name a new directory" >&2; exit 1; }
[ -x "$python" ] || { echo "bundle.sh: there is no .venv; run: make setup" >&2; exit 1; }

"$python" "$root/deploy/bundle/runtime_lock.py" "$root/requirements.lock" >"$dir/runtime.lock"
"$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' >"$dir/PYTHON"
wheel=("$python" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$dir/wheelhouse")
"${wheel[@]}" --require-hashes --requirement "$dir/runtime.lock"
"${wheel[@]}" "$root"

mkdir -p "$dir/deploy" "$dir/docs"
(cd "$root" && tar --create --exclude='__pycache__' --exclude='deploy/compose/secrets/*' --exclude='deploy/compose/registry/*' deploy docs) |
    tar --extract --directory "$dir"
cp "$root/deploy/bundle/install.sh" "$root/LICENSE" "$root/README.md" "$dir/"
bash "$root/deploy/kafka/kafka.sh" fetch
mkdir -p "$dir/build/kafka/lib" "$dir/build/influxdb"
cp "$root"/build/kafka/lib/*.jar "$dir/build/kafka/lib/"
cp "$(bash "$root/deploy/influxdb/build-influxd.sh" "$root/build/influxdb")" "$dir/build/influxdb/"
"$python" "$root/deploy/bundle/sbom.py" "$dir" --lock >"$dir/install.lock"
"$python" "$root/deploy/bundle/sbom.py" "$dir" >"$dir/sbom.cdx.json"
(cd "$dir" && find . -type f ! -name SHA256SUMS -print0 | LC_ALL=C sort -z | xargs -0 sha256sum >SHA256SUMS)
echo "$dir: $(find "$dir/wheelhouse" -name '*.whl' | wc -l) wheels, $(du -sh "$dir" | cut -f1)"
