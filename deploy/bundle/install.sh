#!/usr/bin/env bash
# Install Offsite from this bundle; no network is used.
#   bash install.sh [DIR]              (default: /opt/offsite)
# Makes a virtual environment in DIR from the wheels beside this script, after their checksums; puts what deploys and documents the
# product into DIR/share. Needs Python 3.11 or later of the series in the file PYTHON, with venv. Run again, it installs this version over another one.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dir=${1:-/opt/offsite}
series=$(cat "$here/PYTHON")
python=${PYTHON:-$(command -v "python$series" || command -v python3)}

[ "$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')" = "$series" ] ||
    { echo "install.sh: the wheels are for Python $series, and $python is another; name one in PYTHON" >&2; exit 1; }
(cd "$here" && sha256sum --check --quiet SHA256SUMS) ||
    { echo "install.sh: a file is not the one that was packed; copy the bundle again" >&2; exit 1; }

"$python" -m venv "$dir"
PIP_CONFIG_FILE=/dev/null "$dir/bin/python" -m pip install --quiet --disable-pip-version-check --isolated --no-index \
    --find-links "$here/wheelhouse" --require-hashes --requirement "$here/install.lock"
for part in deploy build docs; do
    [ ! -d "$here/$part" ] || { rm -rf "${dir:?}/share/$part" && mkdir -p "$dir/share" && cp -r "$here/$part" "$dir/share/$part"; }
done
cp "$here/sbom.cdx.json" "$here/LICENSE" "$dir/share/"
echo "offsite $("$dir/bin/offsite" --version) is in $dir; next: $dir/share/docs/deploy.md"
