"""A real InfluxDB: a line is written once or refused with its reason, and every failure is named by the reaction it demands."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from uuid import uuid4

import pyarrow as pa
import pytest

from connectors.core import Lost, Refused, Retry
from connectors.influx import BATCH, Bucket, Influx, flux_text
from connectors.influx_lines import Lines, table_lines
from tests.real.certs import Certs
from tests.real.influx import InfluxServer

pytestmark = pytest.mark.servers

NS = 1_000_000
T0 = 1_791_734_400_000 * NS


@pytest.fixture
def client(influx: InfluxServer) -> Iterator[Influx]:
    with Influx(influx.url, influx.org, influx.token) as made:
        yield made


@pytest.fixture
def bucket(client: Influx) -> str:
    name = f"t{uuid4().hex}"
    client.ensure([Bucket(name, 0)])
    return name


def count(client: Influx, bucket: str) -> int:
    flux = f'from(bucket: {flux_text(bucket)}) |> range(start: 0, stop: 2200-01-01T00:00:00Z) |> filter(fn: (r) => r._field == "f") |> group() |> count()'
    return sum(client.query(flux, {"_value": pa.int64()})["_value"].to_pylist())


def good(number: int) -> list[bytes]:
    return [b"air,site=S%d f=%d %d" % (i % 7, i, T0 + i) for i in range(number)]


def test_lines_of_many_batches_are_written_once(client: Influx, bucket: str) -> None:
    lines = Lines.of(good(2 * BATCH + 1))
    assert client.write(bucket, lines) == []
    assert client.write(bucket, lines) == []
    assert count(client, bucket) == 2 * BATCH + 1
    assert client.write(bucket, Lines.of([])) == []


def test_bad_lines_cost_no_other_line(client: Influx, bucket: str) -> None:
    bad = [b"air,site= f=1 1", b"air f=5i %d" % (T0 + 1), b"air f=nonsense 1", b"air,site=" + b"x" * 70_000 + b" f=1 1"]
    client.write(bucket, Lines.of([b"air f=1 %d" % T0]))
    lines = good(BATCH + 100)
    for at, line in zip((0, 2500, BATCH - 1, BATCH + 50), bad, strict=True):
        lines.insert(at, line)
    refused = client.write(bucket, Lines.of(lines))
    assert {r.line for r in refused} == set(bad)
    assert all(r.reason for r in refused)
    assert any("conflict" in r.reason for r in refused)
    assert count(client, bucket) == BATCH + 100 + 1


def test_a_table_is_read_back(client: Influx, bucket: str) -> None:
    table = pa.table({"site": ["城南", "001", ""], "time": [T0, T0 + 1, T0 + 2], "f": [1.5, 1e300, -0.1], "n": [1, None, 3]})
    assert client.write(bucket, table_lines("air", table, ["site"])) == []
    kinds = {"site": pa.string(), "f": pa.float64(), "n": pa.int64(), "absent": pa.string()}
    flux = (
        f"from(bucket: {flux_text(bucket)}) |> range(start: 0, stop: 2200-01-01T00:00:00Z)"
        ' |> pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value") |> group() |> sort(columns: ["_time"])'
    )
    read = client.query(flux, kinds).to_pylist()
    assert read == [row | {"absent": ""} for row in table.drop_columns("time").to_pylist()]


def test_buckets_get_their_retention_and_its_change(client: Influx, influx: InfluxServer) -> None:
    name = f"t{uuid4().hex}"

    def keeps() -> list[int]:
        [found] = influx.ask(f"/api/v2/buckets?name={name}")["buckets"]
        return [rule["everySeconds"] for rule in found["retentionRules"] if rule["everySeconds"]]

    for keep in (90 * 86_400, 90 * 86_400, 30 * 86_400, 0, 0, 7 * 86_400):
        client.ensure([Bucket(name, keep)])
        assert keeps() == ([keep] if keep else [])


def test_a_wrong_token_or_organisation_names_its_remedy(influx: InfluxServer, bucket: str) -> None:
    line = Lines.of([b"air f=1 1"])
    for org, token, remedy in ((influx.org, "wrong", "token in"), ("wrong", influx.token, "org in")):
        with Influx(influx.url, org, token) as client:
            for act in (lambda c=client: c.write(bucket, line), lambda c=client: c.ensure([Bucket(f"t{uuid4().hex}", 0)])):
                with pytest.raises(Lost, match=remedy):
                    act()
    with Influx(influx.url, influx.org, influx.token) as client, pytest.raises(Lost, match="no-such-bucket"):
        client.write("no-such-bucket", line)


def test_a_wrong_query_is_refused(client: Influx) -> None:
    with pytest.raises(Refused, match="undefined"):
        client.query("nonsense()", {})


def test_names_cannot_leave_their_quotes(client: Influx) -> None:
    for name in ('"', "\\", "${r}", '") |> yield() //', "城南\x00", "'", "$", "a\\", "\\x41"):
        flux = f'import "array"\narray.from(rows: [{{name: {flux_text(name)}}}])'
        assert client.query(flux, {"name": pa.string()})["name"].to_pylist() == [name]


def test_tls_is_verified(influx_tls: InfluxServer, certs: Certs) -> None:
    name = f"t{uuid4().hex}"
    with Influx(influx_tls.url, influx_tls.org, influx_tls.token, str(certs.ca)) as client:
        client.ensure([Bucket(name, 0)])
        assert client.write(name, Lines.of([b"air f=1 1"])) == []
    for ca in ("", str(certs.other_ca)):
        with Influx(influx_tls.url, influx_tls.org, influx_tls.token, ca) as client, pytest.raises(Lost, match="ca in"):
            client.write(name, Lines.of([b"air f=1 1"]))


def test_a_server_that_is_away_is_waited_for(influx_own: InfluxServer) -> None:
    lines = Lines.of(good(10))
    with Influx(influx_own.url, influx_own.org, influx_own.token) as client:
        client.ensure([Bucket("kept", 0)])
        client.write("kept", lines)
        influx_own.stop()
        with pytest.raises(Retry, match="not reachable"):
            client.write("kept", lines)
        influx_own.start()
        client.write("kept", lines)
        assert count(client, "kept") == 10


def test_a_server_that_hangs_is_given_up_in_time(influx_own: InfluxServer) -> None:
    with Influx(influx_own.url, influx_own.org, influx_own.token) as client:
        client.ensure([Bucket("kept", 0)])
    with Influx(influx_own.url, influx_own.org, influx_own.token, timeout=0.3) as client:
        influx_own.pause()
        for act in (lambda: client.write("kept", Lines.of(good(10))), lambda: count(client, "kept")):
            with pytest.raises(Retry, match="timed out"):
                act()
        influx_own.resume()
    with Influx(influx_own.url, influx_own.org, influx_own.token) as client:
        client.write("kept", Lines.of(good(10)))
        assert count(client, "kept") == 10


class Busy(BaseHTTPRequestHandler):
    """Answers as a server or proxy does that has too much to do; a real InfluxDB cannot be made to."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        status, wait = self.server.answer
        self.send_response(status)
        if wait:
            self.send_header("Retry-After", wait)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.mark.parametrize(("status", "wait", "after"), [(429, "7", 7.0), (503, "30", 30.0), (500, "", 2.0), (502, "soon", 2.0)])
def test_a_busy_server_is_given_the_time_it_asks_for(status: int, wait: str, after: float) -> None:
    with HTTPServer(("127.0.0.1", 0), Busy) as server:
        server.answer = (status, wait)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with Influx(f"http://127.0.0.1:{server.server_port}", "o", "t") as client, pytest.raises(Retry) as waited:
            client.write("b", Lines.of([b"air f=1 1"]))
        server.shutdown()
    assert waited.value.after == after
