#!/usr/bin/env bash
# Draw the secrets that deploy/compose.yaml mounts, once; what is there is kept.
#   deploy/compose/secrets.sh [DIR]       (default: secrets beside this script)
# The directory is its owner's alone; the files inside are readable, because a process in a container has another number.
set -euo pipefail
dir=${1:-$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/secrets}
mkdir -p "$dir"
chmod 0700 "$dir"
for name in postgres_password influx_token influx_password grafana_password; do
    [ -s "$dir/$name" ] || head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n' >"$dir/$name"
    chmod 0444 "$dir/$name"
done
# Users of the profile `mqtt`: add one with  mosquitto_passwd DIR/mqtt_users NAME
[ -e "$dir/mqtt_users" ] || : >"$dir/mqtt_users"
chmod 0444 "$dir/mqtt_users"
