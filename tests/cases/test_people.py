from __future__ import annotations

import pytest

from cases.people import ROLES
from cases.store import Desk
from connectors.core import Refused
from tests.cases.made import PEOPLE


def test_everybody_is_listed_in_the_order_of_roles(desk: Desk) -> None:
    assert [one["role"] for one in desk.people()] == list(ROLES)
    assert desk.people()[0]["role_zh"] == "值班员"


def test_only_what_changed_is_written(desk: Desk) -> None:
    before = desk.audit_verify().rows
    assert desk.put_people(PEOPLE) == 0
    assert (
        desk.put_people([*PEOPLE, {"person": "zhang", "name": "张三", "role": "officer", "phone": "13800000000", "extra": 1}])
        == 1
    )
    assert desk.put_people([{"person": "zhang", "name": "张三", "role": "leader"}], by="admin") == 1
    assert desk.audit_verify().rows == before + 2
    assert [one["by"] for one in desk.audit_entries(subject="zhang")] == ["system", "admin"]


def test_all_faults_are_named_and_nothing_is_kept(desk: Desk) -> None:
    rows = [
        {"person": "good", "name": "好", "role": "officer"},
        {"person": "", "name": "", "role": "boss"},
        {"person": "e", "name": "企业", "role": "enterprise"},
        {"person": "system", "name": "我", "role": "admin"},
    ]
    with pytest.raises(Refused, match=r"row 2: person is missing; row 2: name .* row 2: role 'boss' .*; row 3: .*site; row 4"):
        desk.put_people(rows)
    assert len(desk.people()) == len(PEOPLE)


@pytest.mark.parametrize("by", ["leader", "nobody"])
def test_only_an_admin_changes_people(desk: Desk, by: str) -> None:
    with pytest.raises(Refused, match=by):
        desk.put_people([{"person": "x", "name": "x", "role": "admin"}], by=by)
