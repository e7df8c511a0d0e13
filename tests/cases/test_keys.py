from __future__ import annotations

from pathlib import Path

import pytest

from cases.store import Desk
from connectors.core import Refused
from tests.cases.made import dump


def test_a_secret_is_shown_once_and_stored_nowhere(desk: Desk, tmp_path: Path) -> None:
    made = desk.create_key("电表采集", ["S2", "S1", "S1"], "admin")
    assert made["sites"] == ["S1", "S2"]
    found = desk.keys()
    assert len(found) == 1
    assert "secret" not in found[0]
    tail = made["secret"].rsplit("_", 1)[1]
    assert tail not in repr(dump(desk))
    assert all(tail.encode() not in file.read_bytes() for file in tmp_path.iterdir())


def test_a_key_opens_its_own_sites_only(desk: Desk) -> None:
    grant = desk.check_key(desk.create_key("a", ["S1"])["secret"])
    assert grant is not None
    assert (grant.name, grant.allows("S1"), grant.allows("S2")) == ("a", True, False)
    every = desk.check_key(desk.create_key("b")["secret"])
    assert every is not None
    assert every.allows("S2")


def test_a_wrong_or_revoked_secret_opens_nothing(desk: Desk) -> None:
    made = desk.create_key("a")
    right = made["secret"]
    wrong = [
        "",
        "x",
        right[:-1],
        right + "x",
        right[:-1] + ("A" if right[-1] != "A" else "B"),
        right.upper(),
        "osk_" + "0" * 12 + right[16:],
        "\ud800",
    ]
    assert [desk.check_key(one) for one in wrong] == [None] * len(wrong)
    assert desk.check_key(right) is not None
    assert desk.revoke_key(made["id"], "admin")["revoked"]
    assert desk.check_key(right) is None
    with pytest.raises(Refused, match="no valid API key"):
        desk.revoke_key(made["id"], "admin")


@pytest.mark.parametrize(("name", "sites", "by"), [("a", None, "leader"), (" ", None, "admin"), ("a", None, "nobody")])
def test_a_key_needs_an_admin_a_name_and_a_scope(desk: Desk, name: str, sites: list[str] | None, by: str) -> None:
    with pytest.raises(Refused):
        desk.create_key(name, sites, by)
    assert desk.keys() == []


def test_only_an_admin_revokes(desk: Desk) -> None:
    key = desk.create_key("a")["id"]
    with pytest.raises(Refused, match="only an admin"):
        desk.revoke_key(key, "operator")
