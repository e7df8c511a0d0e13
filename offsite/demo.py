"""`offsite demo`: the product of `offsite run` beside a simulated city that talks to it through real sockets.

The city is a process of its own; one shared clock serves city, gateway, ticks and desk. Seven generated days are poured first,
then the city lives at `speed`. Stops cleanly on SIGINT or SIGTERM.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from connectors.core import ConnectorError, Refused
from offsite.city.clock import SharedClock
from offsite.city.model import City
from offsite.city.registry import write
from offsite.city.run import CitySettings
from offsite.io_process import Ports, Product
from offsite.settings import Settings
from offsite.supervisor import announce, serve, withdraw
from streams.plan.load import DEFAULT

POURED_TICKS = ("pause_min = 5 ", "pause_min = 90 ")
"""While days are poured, log time goes in leaps from tick to tick; in the demo's plan they are no pause of the platform."""


@dataclass(frozen=True, slots=True)
class Demo:
    """What a demo can be told."""

    data: Path | None
    hj212_port: int
    http_port: int
    desk_port: int
    seed: int
    enterprises: int
    days: int
    speed: float
    visitor: bool


def run(demo: Demo, say: Callable[[str], None]) -> int:
    """Run the demo until it is stopped; returns the exit code."""
    with tempfile.TemporaryDirectory(prefix="offsite-demo-") as scratch:
        data = demo.data or Path(scratch)
        if (data / "state.sqlite").exists():
            raise Refused(f"{data} holds data already; a demo begins with its own seven days: name an empty directory")
        data.mkdir(parents=True, exist_ok=True)
        city = City(seed=demo.seed, enterprises=demo.enterprises, days=demo.days)
        write(city, data / "city")
        (data / "truth.json").write_text(json.dumps(city.truth(), ensure_ascii=False, indent=1), encoding="utf-8")
        with SharedClock(data / "clock") as clock:
            clock.set(city.start_ms)
        (data / "plan.toml").write_text(DEFAULT.read_text(encoding="utf-8").replace(*POURED_TICKS), encoding="utf-8")
        settings = Settings(
            data=data,
            plan=data / "plan.toml",
            registry=data / "city",
            hj212_port=demo.hj212_port,
            http_port=demo.http_port,
            desk_port=demo.desk_port,
            title="示范市",
            clock=data / "clock",
        )
        try:
            asyncio.run(_run(demo, settings, say))
        except ConnectorError as error:
            print(f"offsite demo: {error}", file=sys.stderr)  # noqa: T201
            return 1
        finally:
            withdraw(data)
    return 0


async def _run(demo: Demo, settings: Settings, say: Callable[[str], None]) -> None:
    """Serve, and keep the city beside it."""
    stop = asyncio.Event()
    tasks: list[asyncio.Task[None]] = []

    def ready(ports: Ports, product: Product) -> None:
        announce(settings, ports)
        say(f"值班台 desk: http://127.0.0.1:{ports.desk}/   (Ctrl-C stops)")
        tasks.append(asyncio.create_task(_city(demo, settings, ports, product, stop, say)))

    await serve(settings, ready, stop)
    await asyncio.gather(*tasks)


async def _city(
    demo: Demo, settings: Settings, ports: Ports, product: Product, stop: asyncio.Event, say: Callable[[str], None]
) -> None:
    """Run the city's process until `stop`; if it dies, so does the demo."""
    key = (await asyncio.to_thread(product.desk.create_key, "city"))["secret"]
    assert settings.clock is not None
    own = CitySettings(
        clock=settings.clock,
        host="127.0.0.1",
        hj212_port=ports.hj212,
        http_base=f"http://127.0.0.1:{ports.http}",
        api_key=key,
        desk_base=f"http://127.0.0.1:{ports.desk}",
        seed=demo.seed,
        enterprises=demo.enterprises,
        days=demo.days,
        speed=demo.speed,
        visitor=demo.visitor,
    )
    arguments = json.dumps(asdict(own) | {"clock": str(own.clock)})
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "offsite.city", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(arguments.encode())
    child.stdin.close()
    ending = asyncio.create_task(stop.wait())
    reading = asyncio.create_task(_progress(child.stdout, say))
    ended = asyncio.create_task(child.wait())
    await asyncio.wait([ending, ended], return_when=asyncio.FIRST_COMPLETED)
    if not ended.done():
        child.terminate()
    code = await ended
    await reading
    ending.cancel()
    if not stop.is_set():
        stop.set()
        raise Refused(f"the simulated city ended with {code}; see its message above")


async def _progress(lines: asyncio.StreamReader, say: Callable[[str], None]) -> None:
    """Show how far the pouring is."""
    while line := await lines.readline():
        report = json.loads(line)
        say(f"pour {report['share']:.4f} {report['frames']}")
