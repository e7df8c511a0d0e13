#!/usr/bin/env bash
# System packages, for `make`: root installs them with apt, anybody else is told the command.
#   base   what the virtual environment needs
#   tests  what the tests need besides: Chromium with a CJK font, and PostgreSQL
set -euo pipefail
missing=()
case "${1:-tests}" in
base)
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
    ;;
tests)
    command -v chromium >/dev/null || missing+=(chromium)
    fc-list 2>/dev/null | grep -qiE 'noto.*cjk|wqy|wenquanyi' || missing+=(fonts-wqy-microhei fontconfig)
    command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)
    ;;
*)
    echo "usage: $0 base|tests" >&2
    exit 2
    ;;
esac
[ ${#missing[@]} -eq 0 ] && exit 0
if ! command -v apt-get >/dev/null; then
    echo "needed here: ${missing[*]} (install them with your system's package manager)" >&2
elif [ "$(id -u)" = 0 ]; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}" >/dev/null
else
    echo "needed here: ${missing[*]}; run:  sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}" >&2
fi
