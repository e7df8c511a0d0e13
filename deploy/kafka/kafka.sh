#!/usr/bin/env bash
# Apache Kafka from Maven's jars: one node of a KRaft cluster, in the foreground.
#
#   kafka.sh fetch                     copy the jars to build/kafka/lib; needs Maven, once
#   kafka.sh start DIR [KEY=VALUE …]   start a node that keeps everything in DIR; needs Java 17 or later
#
# KEY=VALUE are Kafka's own broker settings; they are written to DIR/server.properties after the defaults below and win over
# them. Without any, a cluster of one node serves 127.0.0.1:9092 without encryption:
#
#   deploy/kafka/kafka.sh start kafka-data
#
# One of three nodes (the others with their own node.id, ports and DIR, and the same KAFKA_CLUSTER_ID):
#
#   KAFKA_CLUSTER_ID=4L6g3nShT-eMCtK--X86sw deploy/kafka/kafka.sh start node1 node.id=1 \
#       listeners=PLAINTEXT://10.1.0.1:9092,CONTROLLER://10.1.0.1:9093 \
#       controller.quorum.voters=1@10.1.0.1:9093,2@10.1.0.2:9093,3@10.1.0.3:9093 \
#       offsets.topic.replication.factor=3 transaction.state.log.replication.factor=3 transaction.state.log.min.isr=2
#
# DIR is formatted at the first start and only then. Environment:
#   KAFKA_CLUSTER_ID     id of a cluster of several nodes; a cluster of one draws its own
#   KAFKA_USERS          file of NAME:PASSWORD lines, the users of SASL (SCRAM-SHA-512), made at the first start
#   KAFKA_HEAP_OPTS      heap of the broker (default -Xms256m -Xmx1g)
#   KAFKA_OPTS           further options of the JVM
#   KAFKA_LIB            folder of the jars, if not build/kafka/lib
# SIGTERM ends the node in good order.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
lib=${KAFKA_LIB:-$(cd "$here/../.." && pwd)/build/kafka/lib}
common=(-cp "$lib/*" "-Dlog4j2.configurationFile=$here/log4j2.properties")

fetch() {
    compgen -G "$lib/kafka_2.13-*.jar" >/dev/null && return
    command -v mvn >/dev/null || { echo "kafka.sh: needs Maven to fetch Kafka; install it, or put the jars into $lib" >&2; exit 1; }
    mkdir -p "$lib.new"
    mvn --quiet --batch-mode --file "$here/pom.xml" -Djars="$lib.new" package >&2
    mv --no-target-directory "$lib.new" "$lib" # whole or not at all
}

properties() {
    cat <<END
node.id=1
process.roles=broker,controller
listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:9093
log.dirs=$dir/log
auto.create.topics.enable=false
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
END
    printf '%s\n' "$@"
}

format() {
    local words=(format --ignore-formatted --config "$dir/server.properties" --cluster-id
        "${KAFKA_CLUSTER_ID:-k$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | head -c 21)}")
    while IFS=: read -r name password; do
        words+=(--add-scram "SCRAM-SHA-512=[name=$name,password=$password]")
    done < <(cat "${KAFKA_USERS:-/dev/null}")
    (umask 077 && printf '%s\n' "${words[@]}" >"$dir/format") # a file: everybody may read a command line
    trap 'rm -f "$dir/format"' EXIT
    java -XX:TieredStopAtLevel=1 "${common[@]}" -Dkafka.log=WARN kafka.tools.StorageTool "@$dir/format" >/dev/null # it prints keys
    rm "$dir/format"
    touch "$dir/formatted"
}

case "${1:-}" in
fetch)
    fetch
    ;;
start)
    [ $# -ge 2 ] || { echo "usage: $0 start DIR [KEY=VALUE …]" >&2; exit 2; }
    fetch
    mkdir -p "$2"
    dir=$(cd "$2" && pwd)
    shift 2
    (umask 077 && properties "$@" >"$dir/server.properties")
    [ -e "$dir/formatted" ] || format
    # shellcheck disable=SC2086 # options are words
    exec java ${KAFKA_HEAP_OPTS:--Xms256m -Xmx1g} ${KAFKA_OPTS:-} "${common[@]}" kafka.Kafka "$dir/server.properties"
    ;;
*)
    echo "usage: $0 fetch | start DIR [KEY=VALUE …]" >&2
    exit 2
    ;;
esac
