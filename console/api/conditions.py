"""The platform's alarms about itself, for the banner of the desk.

A function that returns the conditions that stand enters; one route leaves. The words, in both languages, come with each condition.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fastapi import APIRouter

from console.ports import Row


def router(standing: Callable[[], Sequence[Row]]) -> APIRouter:
    """Return the route `/api/v1/conditions`.

    `standing()` returns rows of id, subject, severity (critical | warning), since (ms UTC), zh, en, remedy_zh, remedy_en; the critical
    ones first.
    """
    routes = APIRouter(tags=["system"])

    @routes.get("/api/v1/conditions")
    def conditions() -> Row:
        """Return what is wrong with the platform itself at this moment."""
        return {"conditions": list(standing())}

    return routes
