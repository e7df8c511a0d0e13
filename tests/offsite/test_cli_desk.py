from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.offsite.conftest import Offsite


def test_a_case_goes_its_way_from_the_command_line(offsite: Offsite, desk_with_leads: Path) -> None:
    at = ("--data", desk_with_leads, "--json")
    opened = offsite("case", "open", "l1", "--as", "operator", *at)
    case = opened.rows[0]
    assert (opened.code, case["state"], case["opened_by"]) == (0, "open", "operator")
    assert offsite("case", "open", "l1", "--as", "operator", *at).rows[0]["number"] == case["number"]
    moves = [
        ("dispatch", "shift_lead", ["assignee=第一执法组"], "dispatched"),
        ("verify", "officer", ["verdict=属实", "finding=采样管 = 拆开"], "verified"),
        ("close", "shift_lead", ["conclusion=移送"], "closed"),
    ]
    for move, person, fields, state in moves:
        told = offsite("case", "move", case["number"], move, *fields, "--as", person, *at)
        assert (told.code, told.rows[0]["state"]) == (0, state)
    assert offsite("case", "show", case["id"], *at).rows[0]["finding"] == "采样管 = 拆开"
    assert [row["number"] for row in offsite("case", "list", "--state", "closed", *at).rows] == [case["number"]]
    assert [row["what"] for row in offsite("audit", "list", "--subject", case["id"], *at).rows] == [
        "case.open", "case.dispatch", "case.verify", "case.close",
    ]  # fmt: skip


def test_a_case_is_shown_to_people_with_its_ledger_and_what_may_follow(offsite: Offsite, desk_with_leads: Path) -> None:
    offsite("case", "open", "l1", "--as", "operator", "--data", desk_with_leads)
    number = offsite("case", "list", "--data", desk_with_leads).out.splitlines()[1].split()[0]
    text = offsite("case", "show", number, "--data", desk_with_leads).out
    assert number in text
    assert "建案" in text
    assert "assignee [note]" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("open", "l9", "--as", "operator"), "no lead 'l9'"),
        (("open", "l1", "--as", "nobody"), "no person 'nobody'"),
        (("show", "案-1"), "no case '案-1'"),
        (("move", "案-1", "dispatch", "--as", "operator"), "no case '案-1'"),
        (("move", "案-1", "dispatch", "assignee", "--as", "operator"), "'assignee' is not NAME=VALUE"),
    ],
)
def test_what_cannot_be_done_is_told(offsite: Offsite, desk_with_leads: Path, arguments: tuple[str, ...], words: str) -> None:
    told = offsite("case", *arguments, "--data", desk_with_leads)
    assert told.code == 1
    assert words in told.err
    assert offsite("case", "list", "--data", desk_with_leads, "--json").rows == []


def test_a_key_is_shown_once_listed_and_ended(offsite: Offsite, data: Path) -> None:
    at = ("--data", data, "--json")
    made = offsite("key", "create", "air stations", "--site", "S2", "--site", "S1", *at).rows[0]
    assert made["secret"].startswith(f"osk_{made['id']}_")
    assert (made["sites"], made["created_by"]) == (["S1", "S2"], "system")
    text = offsite("key", "create", "platform", "--data", data).out
    assert text.startswith("osk_")
    assert "all sites" in text
    listed = offsite("key", "list", *at)
    assert [row["name"] for row in listed.rows] == ["air stations", "platform"]
    assert made["secret"] not in listed.out
    ended = offsite("key", "revoke", made["id"], *at)
    assert (ended.code, ended.rows[0]["id"]) == (0, made["id"])
    assert [row["revoked"] is None for row in offsite("key", "list", *at).rows] == [False, True]
    assert offsite("audit", "list", *at).rows[-1]["by"] == "admin"
    again = offsite("key", "revoke", made["id"], "--data", data)
    assert again.code == 1
    assert "offsite key list" in again.err


def test_an_altered_audit_is_found(offsite: Offsite, data: Path) -> None:
    offsite("key", "create", "a", "--data", data)
    offsite("key", "create", "b", "--data", data)
    whole = offsite("audit", "verify", "--data", data, "--json")
    assert (whole.code, whole.rows[0]) == (0, {"ok": True, "rows": 2, "first_bad": None})
    with closing(sqlite3.connect(data / "desk.sqlite")) as db, db:
        db.execute("DROP TRIGGER audit_no_update")
        db.execute("UPDATE audit SET by = 'nobody' WHERE seq = 2")
    told = offsite("audit", "verify", "--data", data)
    assert told.code == 1
    assert "breaks at entry 2" in told.err
    assert offsite("doctor", "--data", data).code == 1


def test_the_audit_is_paged(offsite: Offsite, data: Path) -> None:
    for name in "abc":
        offsite("key", "create", name, "--data", data)
    at = ("--data", data, "--json")
    assert [row["seq"] for row in offsite("audit", "list", "--after", 1, "--limit", 1, *at).rows] == [2]
    assert len(offsite("audit", "list", "--data", data).out.splitlines()) == 4
