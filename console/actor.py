"""Who acts: the person chosen in the page's header, checked against the list of people.

Enters: the header `X-Offsite-Person` (percent-encoded UTF-8). Leaves: the person, or a problem. Until sign-in exists the choice is
trusted, which is why the desk answers this machine only; what the person may do is the desk's move table's decision.
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import unquote

from fastapi import Depends, Header

from console.ports import Parts, Row
from console.problems import Problem


def actor(parts: Parts, x_offsite_person: Annotated[str, Header()] = "") -> Row:
    """Return the acting person. Raises Problem 403 when nobody, or nobody known, is named."""
    name = unquote(x_offsite_person)
    if not name:
        raise Problem(403, "nobody is named as the one who acts", "choose a person in the page's header (X-Offsite-Person)")
    found = next((one for one in parts.people() if one.get("person") == name), None)
    if found is None:
        raise Problem(403, f"there is no person {name!r}", "choose one of GET /api/v1/people")
    return found


Actor = Annotated[Row, Depends(actor)]


def role(parts: Parts, x_offsite_person: Annotated[str, Header()] = "") -> str | None:
    """Return the role of the chosen person, None while nobody is chosen: reading needs no choice."""
    name = unquote(x_offsite_person)
    found = next((one for one in parts.people() if name and one.get("person") == name), None)
    return None if found is None else str(found.get("role"))


Role = Annotated[str | None, Depends(role)]
