"""The route by which people give a device a command, in every runtime: a command enters, its outcome leaves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import APIRouter, Body, Header, HTTPException

from connectors.core import Refused, Retry

Command = Callable[[str, str, dict[str, Any], str | None], Awaitable[dict[str, Any]]]
"""(mn, command, parameters, person) → outcome; raises ValueError for one that the standard does not have, Refused, Retry."""


def command_router(command: Command) -> APIRouter:
    """Return the route for the desk's loopback API."""
    router = APIRouter()

    @router.post("/api/v1/devices/{mn}/commands/{cn}")
    async def give(
        mn: str, cn: str, params: Annotated[dict[str, Any], Body()], x_offsite_person: Annotated[str, Header()] = ""
    ) -> dict[str, Any]:
        """Give a device one command of the standard and return its outcome."""
        try:
            return await command(mn, cn, params, unquote(x_offsite_person) or None)
        except ValueError as fault:
            raise HTTPException(422, str(fault)) from fault
        except Refused as refused:
            raise HTTPException(403, str(refused)) from refused
        except Retry as away:
            raise HTTPException(503, str(away), {"Retry-After": f"{away.after:.0f}"}) from away

    return router
