"""What every Kafka client of the product shares: how to reach the cluster, names of topics, partitions, and errors by reaction.

Three clients are used, each for what it does best: confluent-kafka for the judging step and the gateway, kafka-python for
administration, Faust's aiokafka for the agents. All of them partition by murmur2 of the key, as Kafka's own Java client does.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from connectors.core import JSON, ConnectorError, Lost, Record, Refused, Retry

PLAINTEXT = "PLAINTEXT"
CONTENT_TYPE = "content-type"
ARRIVED = "arrived"
"""Header of a gateway: when it accepted the record (ms UTC); it counts if it is earlier than the broker's own stamp."""
_quiet = logging.getLogger("offsite.librdkafka")
_quiet.addHandler(logging.NullHandler())
_quiet.propagate = False
"""For clients whose failures are told by an error: librdkafka would print each attempt to standard error."""
MASK = 0xFFFFFFFF
TRY_S = 0.5


@dataclass(frozen=True, slots=True)
class Cluster:
    """A Kafka cluster as its clients see it.

    `prefix` stands before every topic, group and transactional id, so that several cities may share a cluster. `security` is
    Kafka's `security.protocol`; certificates are paths of PEM files; `mechanism` is Kafka's `sasl.mechanism`.
    """

    bootstrap: str
    prefix: str = ""
    security: str = PLAINTEXT
    ca: str = ""
    cert: str = ""
    key: str = ""
    mechanism: str = "SCRAM-SHA-512"
    username: str = ""
    password: str = ""

    def named(self, name: str) -> str:
        """Return the name that a topic, group or transactional id has in this cluster."""
        return self.prefix + name

    def bare(self, name: str) -> str:
        """Return the name of a topic without the prefix."""
        return _bare(name, self.prefix)

    def librdkafka(self, **more: Any) -> dict[str, Any]:
        """Return a configuration for confluent-kafka; keywords are its names with `_` for `.`, callbacks (`error_cb`) as they are."""
        given = {
            "bootstrap.servers": self.bootstrap,
            "security.protocol": self.security,
            "ssl.ca.location": self.ca,
            "ssl.certificate.location": self.cert,
            "ssl.key.location": self.key,
        }
        if "SASL" in self.security:
            given |= {"sasl.mechanism": self.mechanism, "sasl.username": self.username, "sasl.password": self.password}
        return {k: v for k, v in given.items() if v} | {_dotted(k): v for k, v in more.items()}

    def kafka_python(self) -> dict[str, Any]:
        """Return the arguments of kafka-python's clients."""
        given = {
            "security_protocol": self.security,
            "ssl_cafile": self.ca,
            "ssl_certfile": self.cert,
            "ssl_keyfile": self.key,
        }
        if "SASL" in self.security:
            given |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": self.password,
            }
        return {"bootstrap_servers": self.bootstrap.split(",")} | {k: v for k, v in given.items() if v}

    def aiokafka(self) -> dict[str, Any]:
        """Return the arguments of aiokafka's clients. Raises Lost if a certificate can't be read."""
        given = {"bootstrap_servers": self.bootstrap, "security_protocol": self.security, "ssl_context": self.tls()}
        if "SASL" in self.security:
            given |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": self.password,
            }
        return {k: v for k, v in given.items() if v}

    def faust(self) -> dict[str, Any]:
        """Return the arguments of a Faust app that name its broker. Raises Lost if a certificate can't be read."""
        import faust

        given: dict[str, Any] = {"broker": ";".join(f"kafka://{one}" for one in self.bootstrap.split(","))}
        if "SASL" in self.security:
            return given | {
                "broker_credentials": faust.SASLCredentials(
                    username=self.username, password=self.password, ssl_context=self.tls(), mechanism=self.mechanism
                )
            }
        return given | ({"broker_credentials": faust.SSLCredentials(self.tls())} if self.security == "SSL" else {})

    def tls(self) -> ssl.SSLContext | None:
        """Return the TLS context of a pure-Python client; None without TLS. Raises Lost if a certificate can't be read."""
        if "SSL" not in self.security:
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca or None)
            if self.cert:
                context.load_cert_chain(self.cert, self.key or None)
        except (OSError, ssl.SSLError) as error:
            files = ", ".join(one for one in (self.ca, self.cert, self.key) if one)
            raise Lost(f"Kafka, certificates {files}: {error}; give PEM files that belong together") from error
        return context


def _dotted(name: str) -> str:
    return name if name.endswith("_cb") or name == "logger" else name.replace("_", ".")


def murmur2(data: bytes) -> int:
    """Return the 32-bit hash by which Kafka's Java client partitions keys.

    >>> murmur2(b"foobar") == -790332482 & MASK
    True
    """
    m, h = 0x5BD1E995, (0x9747B28C ^ len(data)) & MASK
    whole = len(data) & ~3
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * m & MASK
        k = (k ^ k >> 24) * m & MASK
        h = (h * m & MASK) ^ k
    if whole < len(data):
        h = (h ^ int.from_bytes(data[whole:], "little")) * m & MASK
    h = (h ^ h >> 13) * m & MASK
    return h ^ h >> 15


@lru_cache(maxsize=200_000)
def partition_of(site: str, partitions: int) -> int:
    """Return the partition of a site: what a Java producer with the default partitioner would choose.

    >>> partition_of("城南污水处理厂", 12) == (murmur2("城南污水处理厂".encode()) & 0x7FFFFFFF) % 12
    True
    """
    return (murmur2(site.encode()) & 0x7FFFFFFF) % partitions


def record_of(message: Any, cluster: Cluster) -> Record:
    """Return a consumed confluent-kafka message as a log record.

    Its log time is the broker's stamp, or the earlier moment at which a gateway accepted it: what waited in a spool is not late.

    A key that is no UTF-8 becomes an empty one, which the gate refuses.
    """
    kind, told = JSON, None
    for name, value in message.headers() or ():
        if name == CONTENT_TYPE and value:
            kind = _content_type(value)
        elif name == ARRIVED:
            told = value
    stamp = message.timestamp()[1]
    return Record(
        cluster.bare(message.topic()),
        _text(message.key() or b""),
        _arrived(stamp, told) if told else stamp,
        kind,
        message.value() or b"",
        message.offset(),
        message.partition(),
    )


def _arrived(stamp: int, told: bytes) -> int:
    return min(stamp, int(told)) if len(told) < 16 and told.isdigit() else stamp


@lru_cache(maxsize=1_000)
def _bare(topic: str, prefix: str) -> str:
    return topic.removeprefix(prefix)


@lru_cache(maxsize=1_000)
def _content_type(value: bytes) -> str:
    return value.decode("latin-1")


@lru_cache(maxsize=200_000)
def _text(key: bytes) -> str:
    try:
        return key.decode()
    except UnicodeDecodeError:
        return ""


def reach(cluster: Cluster, seconds: float) -> int:
    """Return the number of brokers that the cluster shows; `seconds` is how long to try.

    Raises Retry if no broker answers, and at once Lost if the certificate or the password is not accepted: other clients give no
    reason for that, they only time out.
    """
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    met: list[Any] = []
    try:
        client = AdminClient(cluster.librdkafka(error_cb=met.append), logger=_quiet)
    except KafkaException as error:
        raise Lost(f"Kafka, settings: {error.args[0].str()}; correct the table [kafka] of the settings") from error
    for _ in range(max(1, round(seconds / TRY_S))):
        try:
            return len(client.list_topics(timeout=TRY_S).brokers)
        except KafkaException as error:
            last = error.args[0]
            client.poll(0)
            if refused := next((one for one in met if one.code() in _closed()), None):
                remedy = "check ca, cert, key, username and password of [kafka] in the settings"
                raise Lost(f"Kafka at {cluster.bootstrap} lets nobody in: {refused.str()}; {remedy}") from error
    reason = next((one.str() for one in met if one.code() not in _vague()), last.str())
    raise Retry(f"Kafka at {cluster.bootstrap} does not answer: {reason}; start it, or correct [kafka] in the settings")


def translate(error: Any, doing: str) -> ConnectorError:
    """Return the connector error that a confluent-kafka `KafkaError` demands; `doing` says what was being done."""
    text = f"Kafka, {doing}: {error.str()} ({error.name()})"
    if error.code() in _refused():
        return Refused(f"{text}; make the message smaller or correct it")
    if error.fatal() or error.txn_requires_abort() or error.code() in _gone():
        return Lost(text)
    return Retry(text) if error.retriable() or error.code() in _away() else Lost(text)


def _codes(names: Iterable[str]) -> frozenset[int]:
    from confluent_kafka import KafkaError

    return frozenset(getattr(KafkaError, name) for name in names)


@lru_cache
def _refused() -> frozenset[int]:
    return _codes(("MSG_SIZE_TOO_LARGE", "INVALID_RECORD", "INVALID_MSG"))


@lru_cache
def _gone() -> frozenset[int]:
    return _codes(("_FENCED", "FENCED_INSTANCE_ID", "UNKNOWN_MEMBER_ID", "ILLEGAL_GENERATION", "INVALID_PRODUCER_EPOCH"))


@lru_cache
def _away() -> frozenset[int]:
    client = ("_ALL_BROKERS_DOWN", "_TRANSPORT", "_TIMED_OUT", "_MSG_TIMED_OUT", "_RESOLVE", "_QUEUE_FULL")
    return _codes((*client, "NOT_ENOUGH_REPLICAS", "NOT_LEADER_FOR_PARTITION", "LEADER_NOT_AVAILABLE"))


@lru_cache
def _closed() -> frozenset[int]:
    return _codes(("_AUTHENTICATION", "_SSL"))


@lru_cache
def _vague() -> frozenset[int]:
    return _codes(("_ALL_BROKERS_DOWN",))
