"""Gateway benchmark: thousands of devices on real sockets, every frame durable before its answer (budget of design §10).

    python -m tests.bench.gateway --connections 10000 --rate 1000 --seconds 20 [--burn]

The gateway with its log, the devices, and (with --burn) a CPU-bound process in the judge's place are processes of their own.
Printed beside the product is its reference from the same run: a bare asyncio server that answers each line at once, without
framing, checksum or disk. `flood` is the same gateway with 16 connections that send as fast as answers allow.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402 — after the path, so that the script runs without being installed

from connectors.core import HJ212, Record  # noqa: E402
from connectors.hj212 import commands  # noqa: E402
from connectors.hj212.device import DeviceSettings  # noqa: E402
from connectors.hj212.frame import Frame  # noqa: E402
from connectors.hj212.header import Header  # noqa: E402
from connectors.hj212.server import Gateway  # noqa: E402
from connectors.log_writer import LogWriter  # noqa: E402
from connectors.process import prepare_io_process  # noqa: E402
from connectors.sqlite_log import SqliteLog  # noqa: E402

BUDGET_MS = 200.0
FACTORS = ("a21026", "a21002", "a34013", "a19001", "a01011", "a01012", "a01013", "a01014")
AREA = "DataTime=20160824120000;" + ";".join(f"{f}-Rtd=12.34,{f}-ZsRtd=15.67,{f}-Flag=N" for f in FACTORS)
QN_AT = 9  # "##0000QN="
QN_LEN = 17


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def rss_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def upload(number: int, mn: str) -> bytes:
    return commands.build(qn=f"{number:017d}", st="31", cn="2011", pw="123456", mn=mn, flag=5, area=AREA)


async def serve_gateway(folder: str, pipe: Connection) -> None:
    log = SqliteLog(Path(folder), now_ms)
    writer = LogWriter(log)

    def accept(frame: Frame, header: Header, _peer: str) -> asyncio.Future[int]:
        return writer.append(Record("emission-monitoring", header.mn, -1, HJ212, frame.plain))

    gateway = Gateway(accept, clock=now_ms, device=lambda _: DeviceSettings(known=True))
    pipe.send(await gateway.listen("127.0.0.1", 0))
    await asyncio.to_thread(pipe.recv)  # until the load is through
    cpu = time.process_time()
    books = gateway.counters.snapshot()
    await gateway.close()
    await writer.close()
    pipe.send({"books": books, "commits": writer.commits, "logged": log.end(), "cpu_s": round(cpu, 2), "rss_mb": rss_mb()})
    log.close()


class Bare(asyncio.Protocol):
    """The reference: an answer of the same size for each line, at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.rest = b""

    def data_received(self, data: bytes) -> None:
        *lines, self.rest = (self.rest + data).split(b"\r\n")
        for line in lines:
            self.transport.write(
                b"##0087QN=%b;ST=91;CN=9014;PW=123456;MN=%024d;Flag=4;CP=&&&&0000\r\n" % (line[QN_AT : QN_AT + QN_LEN], 0)
            )


async def serve_bare(_folder: str, pipe: Connection) -> None:
    server = await asyncio.get_running_loop().create_server(Bare, "127.0.0.1", 0, backlog=4096)
    pipe.send(server.sockets[0].getsockname()[1])
    await asyncio.to_thread(pipe.recv)  # until the load is through
    pipe.send({"cpu_s": round(time.process_time(), 2), "rss_mb": rss_mb()})
    server.close()


def server_main(serve: Callable[[str, Connection], Any], folder: str, pipe: Connection) -> None:
    prepare_io_process()
    asyncio.run(serve(folder, pipe))


def burn_main() -> None:
    while True:
        np.sort(np.random.default_rng(1).random(50_000))


class Device(asyncio.Protocol):
    """One socket of the load: notes when each QN was sent and how long its answer took (s)."""

    sent: dict[bytes, float]
    took: list[float]

    def __init__(self, sent: dict[bytes, float], took: list[float], answered: Callable[[], None]) -> None:
        self.sent, self.took, self.answered = sent, took, answered
        self.rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        at = time.perf_counter()
        *lines, self.rest = (self.rest + data).split(b"\r\n")
        for line in lines:
            self.took.append(at - self.sent.pop(line[QN_AT : QN_AT + QN_LEN]))
            self.answered()


async def dial(port: int, count: int, make: Callable[[], Device]) -> list[Device]:
    loop = asyncio.get_running_loop()
    devices: list[Device] = []
    for i in range(0, count, 200):
        made = await asyncio.gather(*(loop.create_connection(make, "127.0.0.1", port) for _ in range(min(200, count - i))))
        devices += [device for _, device in made]
    return devices


async def steady(port: int, connections: int, rate: float, seconds: float) -> dict[str, Any]:
    sent: dict[bytes, float] = {}
    took: list[float] = []
    begun = time.perf_counter()
    total = int(rate * seconds)
    through = asyncio.Event()
    devices = await dial(port, connections, lambda: Device(sent, took, lambda: through.set() if len(took) == total else None))
    connected = time.perf_counter() - begun
    frames = [upload(i, f"{i % connections:024d}") for i in range(total)]
    start = time.perf_counter()
    for i, frame in enumerate(frames):
        if (wait := start + i / rate - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        sent[frame[QN_AT : QN_AT + QN_LEN]] = start + i / rate  # as scheduled: a stalled client hides no latency
        devices[i % connections].transport.write(frame)
        if i % 50 == 0:
            await asyncio.sleep(0)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(through.wait(), 30)
    elapsed = time.perf_counter() - start
    for device in devices:
        device.transport.abort()
    ms = np.array(took) * 1000
    p50, p99, worst = (round(float(q), 2) for q in np.percentile(ms, [50, 99, 100]))
    return {
        "connections": connections,
        "connect_s": round(connected, 2),
        "sent": total,
        "answered": len(took),
        "rate": round(len(took) / elapsed),
        "p50_ms": p50,
        "p99_ms": p99,
        "max_ms": worst,
    }


async def flood(port: int, connections: int, total: int, window: int = 64) -> dict[str, Any]:
    sent: dict[bytes, float] = {}
    took: list[float] = []
    frames = [upload(10_000_000 + i, f"{i % connections:024d}") for i in range(total)]
    slots = asyncio.Semaphore(connections * window)
    devices = await dial(port, connections, lambda: Device(sent, took, slots.release))
    start = time.perf_counter()
    for i, frame in enumerate(frames):
        await slots.acquire()
        sent[frame[QN_AT : QN_AT + QN_LEN]] = time.perf_counter()
        devices[i % connections].transport.write(frame)
    for _ in range(connections * window):  # all slots free = all answered
        await slots.acquire()
    elapsed = time.perf_counter() - start
    for device in devices:
        device.transport.abort()
    return {"connections": connections, "frames": total, "frames_per_s": round(total / elapsed)}


def against(serve: Callable[[str, Connection], Any], load: Callable[[int], Any]) -> dict[str, Any]:
    """Run one server in its own process under a load from this one; return what both measured."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    with tempfile.TemporaryDirectory() as folder:
        process = context.Process(target=server_main, args=(serve, folder, there))
        process.start()
        try:
            if not here.poll(30):
                raise RuntimeError("the server did not start")
            result: dict[str, Any] = asyncio.run(load(here.recv()))
            here.send("stop")
            result["server"] = here.recv()
            process.join(10)
        finally:
            if process.is_alive():
                process.kill()
    return result


def run(
    connections: int = 10_000, rate: float = 1_000, seconds: float = 20, *, burn: bool = False, floods: int = 50_000
) -> dict[str, Any]:
    """Measure the gateway and its reference; return everything, with the verdict on the budget."""
    prepare_io_process()
    burner = multiprocessing.get_context("spawn").Process(target=burn_main)
    if burn:
        burner.start()
    try:
        product = against(serve_gateway, lambda port: steady(port, connections, rate, seconds))
        reference = against(serve_bare, lambda port: steady(port, connections, rate, min(seconds, 5)))
        result = {
            "burn": burn,
            "product": product,
            "reference_bare_asyncio": reference,
            "p99_ratio": round(product["p99_ms"] / reference["p99_ms"], 2),
            "budget_p99_ms": BUDGET_MS,
            "within_budget": product["p99_ms"] <= BUDGET_MS and product["answered"] == product["sent"],
        }
        if floods:
            full = against(serve_gateway, lambda port: flood(port, 16, floods))
            bare = against(serve_bare, lambda port: flood(port, 16, floods))
            result["flood"] = full
            result["flood_reference_bare_asyncio"] = bare
            result["flood_ratio"] = round(full["frames_per_s"] / bare["frames_per_s"], 3)
    finally:
        if burn:
            burner.kill()
            burner.join()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=1_000, help="frames a second of all devices together")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--burn", action="store_true", help="keep a CPU-bound process beside the gateway, as the judge is")
    parser.add_argument("--floods", type=int, default=50_000, help="frames of the flood, 0 = none")
    parser.add_argument("--out", type=Path, help="result file (default: build/bench/gateway.json or gateway-burn.json)")
    args = parser.parse_args()
    args.out = args.out or ROOT / "build" / "bench" / f"gateway{'-burn' if args.burn else ''}.json"
    result = run(args.connections, args.rate, args.seconds, burn=args.burn, floods=args.floods)
    text = json.dumps(result, indent=2)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
