"""Devices as the product knows them: settings for the gateway, a list for people, adoption and commands.

The registry and the configuration say what a device may do; the gateway says whether it is connected; the log holds what an
unknown one has sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import unquote

from fastapi import APIRouter, Body, Header, HTTPException

from connectors.core import Refused
from connectors.hj212.device import DeviceSettings
from connectors.hj212.frame import Dialect
from offsite import registered
from offsite.data_dir import actor, note_adoption
from offsite.device_routes import command_router
from offsite.settings import Settings, secret
from streams.identity import rfc3339
from streams.registry_model import Registry

if TYPE_CHECKING:
    from offsite.io_process import Product


class DeviceBook:
    """What a gateway must know of devices. `registry()` gives the one in force."""

    def __init__(self, settings: Settings, registry: Callable[[], Registry]) -> None:
        self._registry = registry
        self._settings: dict[str, DeviceSettings] = {}
        self._keys = {mn: secret(reference) for mn, reference in settings.sm4_keys.items()}
        self._dialects = settings.dialects

    def settings(self, mn: str) -> DeviceSettings:
        """Return the settings of any device; `known` follows the registry in force."""
        known = mn in self._registry().by_mn
        found = self._settings.get(mn)
        if found is None or found.known != known:
            own = dict(self._dialects.get(mn, {}))
            if mn in self._keys:
                own["sm4_key"] = self._keys[mn]
            found = self._settings[mn] = DeviceSettings(known=known, dialect=Dialect(**own))
        return found


class Devices:
    """The devices of one product."""

    def __init__(self, product: Product) -> None:
        self._product = product
        self._last: dict[str, int] = {}
        self.changing = asyncio.Lock()

    def seen(self, mn: str) -> None:
        """Note that a device has sent a frame."""
        self._last[mn] = self._product.clock()

    def listed(self) -> list[dict[str, Any]]:
        """Return one row a device: mn, site, point, known, online, last_seen, held."""
        product = self._product
        names = [*product.registry.by_mn, *(k for k in product.intake.held if k not in product.registry.by_mn)]
        return [self._row(mn) for mn in names]

    def _row(self, mn: str) -> dict[str, Any]:
        product = self._product
        points = product.registry.by_mn.get(mn, [])
        return registered.device_row(
            mn,
            points,
            online=product.gateway.connected(mn),
            last_seen=rfc3339(self._last.get(mn)),
            held=0 if points else product.intake.held[mn],
        )

    async def adopt(self, mns: list[str] | None, by: str | None) -> dict[str, int]:
        """Register held devices and drive their frames again; returns MN → frames, once they are durable."""
        async with self.changing:  # two at once would each put back the registry that they had read
            return await self._adopt(mns, by)

    async def _adopt(self, mns: list[str] | None, by: str | None) -> dict[str, int]:
        product = self._product
        person = await asyncio.to_thread(actor, product.desk, by)
        found: dict[str, int] = {}
        wanted = mns
        while True:
            more = await asyncio.to_thread(registered.adopt, product.settings.data, product.log, product.clock(), wanted)
            product.reload()
            await product.writer.append()  # what the gateway held before it knew is in the log now
            found = {mn: found.get(mn, 0) + more.get(mn, 0) for mn in sorted(found.keys() | more.keys())}
            late = {r.key for r in await asyncio.to_thread(registered.held, product.log, set(found))}
            if not late:
                break
            wanted = sorted(late)  # what the gateway held until it knew
        for mn in found:
            product.intake.held.pop(mn, None)
        await asyncio.to_thread(note_adoption, product.desk, person, found)
        return found

    async def command(self, mn: str, cn: str, params: dict[str, Any], by: str | None) -> dict[str, Any]:
        """Give a device one command of the standard; what was asked, by whom and how it ended is in the audit."""
        product = self._product
        person = await asyncio.to_thread(actor, product.desk, by)
        outcome = await product.gateway.ask(mn, cn, params)
        told = {"qn_rtn": outcome.qn_rtn, "exe_rtn": outcome.exe_rtn, "fault": outcome.fault or None}
        await asyncio.to_thread(product.desk.record, person, "device.command", mn, {"cn": cn, "params": params} | told)
        return told

    def router(self) -> APIRouter:
        """Return the routes that act on devices, for the desk's loopback API."""
        router = APIRouter()

        @router.post("/api/v1/devices/adopt")
        async def adopt(
            mns: Annotated[list[str] | None, Body(embed=True)] = None, x_offsite_person: Annotated[str, Header()] = ""
        ) -> dict[str, Any]:
            """Adopt the devices named, or all that are held."""
            try:
                return {"adopted": await self.adopt(mns, unquote(x_offsite_person) or None)}
            except Refused as refused:
                raise HTTPException(409, str(refused)) from refused

        router.include_router(command_router(self.command))
        return router
