#!/usr/bin/env bash
# System packages, for `make`: root installs them with apt, anybody else is told the command.
#   base   what the virtual environment needs
#   tests  what the tests need besides: Chromium with a CJK font, PostgreSQL, Java and Maven for Kafka, Mosquitto, promtool;
#          Go and Rust, which build the servers that have no package, are named where they are missing
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
    command -v java >/dev/null || missing+=(default-jre-headless)
    command -v mvn >/dev/null || missing+=(maven)
    command -v mosquitto >/dev/null || [ -x /usr/sbin/mosquitto ] || missing+=(mosquitto)
    command -v curl >/dev/null || missing+=(curl)
    command -v systemd-analyze >/dev/null || missing+=(systemd)
    command -v promtool >/dev/null || missing+=(prometheus)
    # Go and Rust are only named: Debian 12 has them too old, and Go 1.19 can't fetch a newer one.
    go version 2>/dev/null | grep -qE 'go1\.(2[3-9]|[3-9][0-9])' ||
        echo "for the tests of InfluxDB, S3 and Helm: Go 1.23 or later (Debian 13's golang; for Debian 12 from backports)" >&2
    command -v cargo >/dev/null || echo "for the tests of InfluxDB: Rust 1.70 or later with cargo (Debian 13's cargo)" >&2
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
