#!/usr/bin/env bash
# System packages that the tests need: Chromium with a CJK font, and PostgreSQL. Root installs them; anybody else is told the command.
set -euo pipefail
missing=()
command -v chromium >/dev/null || missing+=(chromium)
fc-list 2>/dev/null | grep -qiE 'noto.*cjk|wqy|wenquanyi' || missing+=(fonts-wqy-microhei fontconfig)
command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)
[ ${#missing[@]} -eq 0 ] && exit 0
command="apt-get install -y --no-install-recommends ${missing[*]}"
if ! command -v apt-get >/dev/null; then
    echo "the tests need: ${missing[*]} (install them with your system's package manager)"
elif [ "$(id -u)" = 0 ]; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $command >/dev/null
else
    echo "the tests need system packages; run:  sudo apt-get update && sudo $command"
fi
