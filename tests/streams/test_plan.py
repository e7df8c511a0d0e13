"""The plan: data, loaded into frozen dataclasses, every fault at once and with its path (design §3)."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest

from detectors.catalog import CATALOG
from streams.alerts import _words
from streams.judge import Episode
from streams.plan import PlanFaults, load_plan
from streams.plan.check import ALERT_WORDS, FAMILIES, LEAD, RULE
from streams.plan.load import DEFAULT, LeadRule, Rule
from tests.streams.driven import PLAN

ONE = """[[rules]]
id = "r"
detector = "limit"
family = "limits"
cadence = "hour"
zh = "z"
en = "e"
clause = "G-01"
"""


def load(tmp_path: Path, text: str):
    file = tmp_path / "plan.toml"
    file.write_text(text, encoding="utf-8")
    return load_plan(file)


def faults(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(PlanFaults) as caught:
        load(tmp_path, text)
    assert str(tmp_path / "plan.toml") in str(caught.value)
    return caught.value.faults


def test_the_packaged_plan_is_pinned_by_its_hash() -> None:
    assert PLAN.hash == hashlib.sha256(DEFAULT.read_bytes()).hexdigest()[:16]
    assert PLAN.version
    assert (PLAN.time.hour_close_min, PLAN.time.grace_min, PLAN.time.ahead_max_min) == (30, 10, 10)
    assert dataclasses.astuple(PLAN.validity) == (12, 0.75, 45, 20)
    assert dataclasses.astuple(PLAN.cross_site) == (0.3, 3)


def test_every_rule_names_a_detector_of_its_family_and_words_that_can_be_filled() -> None:
    words = dict.fromkeys(["factor", "observed", "expected", "limit", "unit", "multiple", "source", "minutes", "last"], "x")
    for rule in PLAN.rules:
        detector = CATALOG[rule.detector]
        assert detector.family == rule.family, rule.id
        assert detector.scope == rule.scope, rule.id
        assert rule.zh.format(**words)
        assert rule.en.format(**words)
        assert rule.basis
    for lead in PLAN.leads:
        assert lead.counts <= set(FAMILIES)
        assert lead.zh.format(families=2, n=3)
        assert lead.en.format(families=2, n=3)


def test_a_plan_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        PLAN.rules[0].enter = 2.0  # type: ignore[misc]


def test_what_is_left_out_has_the_default(tmp_path: Path) -> None:
    plan = load(tmp_path, ONE)
    assert plan.time == PLAN.time
    assert plan.validity == PLAN.validity
    [rule] = plan.rules
    assert (rule.enter, rule.exit, rule.hold, rule.levels) == (1.0, 1.0, 1, ((0.0, 4),))


def test_another_text_has_another_hash(tmp_path: Path) -> None:
    assert load(tmp_path, ONE).hash != load(tmp_path, ONE + "# a remark\n").hash


def test_all_faults_are_listed_at_once_each_with_its_path(tmp_path: Path) -> None:
    text = (
        ONE
        + ONE.replace('id = "r"', 'id = "q"').replace('"hour"', '"weekly"').replace('"limits"', '"gossip"')
        + "levels = [[1.0, 7]]\nhysteresis = 3\nwindow_of = { a = -1 }\n"
        + '[[rules]]\nid = "r"\n'
        + '[time]\ngrace_min = "ten"\nlunch_min = 30\n'
        + '[ranges]\na = [3, 1]\n[replay.limits]\nb = -4\n[[leads]]\ntype = "t"\nfamilies = 0\ncounts = ["rumour"]\nclause=""\nzh=""\nen=""\n'
    )
    found = faults(tmp_path, text)
    for start in (
        "rules[1].cadence: 'weekly' is not one of",
        "rules[1].family: 'gossip' is not one of",
        "rules[1].levels: must be pairs",
        "rules[1].hysteresis: unknown; known are",
        "rules[1].window_of.a: must be a number above 0",
        "rules[2].detector: is required",
        "rules[2].clause: is required",
        "rules: id 'r' is used twice",
        "time.grace_min: must be a number",
        "time.lunch_min: unknown; known are",
        "ranges.a: must be [low, high]",
        "replay.limits.b: must be a number above 0",
        "leads[0].families: must be a whole number from 1",
        "leads[0].counts: 'rumour' is not one of",
    ):
        assert any(fault.startswith(start) for fault in found), (start, found)


def test_a_plan_that_is_no_toml_says_so(tmp_path: Path) -> None:
    [fault] = faults(tmp_path, "rules = [")
    assert fault


@pytest.mark.parametrize(("factor", "minutes"), [("a21026", 60), ("w01018", 720), ("a01014", 1440), ("a01012", 60)])
def test_the_longest_prefix_decides_a_window(factor: str, minutes: float) -> None:
    assert PLAN.rule("constant").window(factor) == minutes


def test_exempt_beats_only() -> None:
    rule = dataclasses.replace(PLAN.rule("step"), only=frozenset({"a2"}), exempt=frozenset({"a21002"}))
    assert [rule.serves(f) for f in ("a21026", "a21002", "w01018")] == [True, False, False]
    constant = PLAN.rule("constant")
    assert [constant.serves(f) for f in ("a21026", "w01018", "w01001", "w00000", "d00001")] == [True, True, False, False, False]


LEADING = '[[leads]]\ntype = "t"\nfamilies = 2\ncounts = ["limits", "power"]\nclause = ""\nzh = ""\nen = ""\n'


def replaced(text: str, line: str) -> str:
    """Return the table with the line of the same key replaced, or with one line more."""
    key = line.split(" = ", maxsplit=1)[0]
    return "\n".join([one for one in text.splitlines() if not one.startswith(f"{key} = ")] + [line]) + "\n"


def test_every_field_has_a_check() -> None:
    assert set(RULE) == {f.name for f in dataclasses.fields(Rule)}
    assert set(LEAD) == {f.name for f in dataclasses.fields(LeadRule)}


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("id = 5", "must be text in quotes, not 5"),
        ('id = " "', "must not be empty"),
        ('detector = "crystal ball"', "'crystal ball' is not one of constant"),
        ("detector = [1]", "[1] is not one of constant"),
        ("scope = 1", "1 is not one of series"),
        ("zh = 5", "must be text"),
        ('zh = "{colour}"', "cannot be filled (KeyError('colour')); its words are factor"),
        ('en = "{"', "cannot be filled"),
        ('en = "{}"', "cannot be filled"),
        ('en = "{observed:.2f}"', "cannot be filled"),
        ('en = "{factor.code}"', "cannot be filled"),
        ("clause = 1", "must be text"),
        ('enter = "a"', "must be a number from 0, not 'a'"),
        ("enter = true", "must be a number from 0, not True"),
        ("exit = nan", "must be a number from 0, not nan"),
        ("hold = -3", "must be a whole number from 1, not -3"),
        ("hold = 1.5", "must be a whole number from 1, not 1.5"),
        ("on_delay_min = -1", "must be a number from 0"),
        ("off_delay_min = []", "must be a number from 0"),
        ("window_min = 0", "must be a number above 0"),
        ("window_of = 5", "must be a table of numbers"),
        ("weight = 1.5", "must be a number from 0 to 1, not 1.5"),
        ("levels = 5", "must be pairs"),
        ("levels = [5]", "must be pairs"),
        ("levels = [[1.0, true]]", "must be pairs"),
        ('lasting = [["a", 1]]', "must be pairs"),
        ('only = "a21026"', "must be a list of texts"),
        ("exempt = [5]", "must be a list of texts"),
    ],
)
def test_each_field_of_a_rule_is_checked(tmp_path: Path, line: str, wanted: str) -> None:
    [fault] = faults(tmp_path, replaced(ONE, line))
    assert fault.startswith(f"rules[0].{line.split(' = ', maxsplit=1)[0]}: {wanted}")


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("type = 1", "must be text"),
        ("families = true", "must be a whole number from 1, not True"),
        ("counts = 5", "must be a list of texts"),
        ("counts = []", "must name at least one family"),
        ('zh = "{factor}"', "cannot be filled (KeyError('factor')); its words are families, n"),
        ("window_h = 0", "must be a number above 0"),
        ("auto_case_level = 5", "must be a whole number from 0 to 4"),
        ('missing = "x"', "must be a list of texts"),
    ],
)
def test_each_field_of_a_lead_is_checked(tmp_path: Path, line: str, wanted: str) -> None:
    [fault] = faults(tmp_path, ONE + replaced(LEADING, line))
    assert fault.startswith(f"leads[0].{line.split(' = ', maxsplit=1)[0]}: {wanted}")
    assert load(tmp_path, ONE + LEADING).leads[0].counts == {"limits", "power"}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", "rules: there is none; write at least one as [[rules]]"),
        ("rules = 5", "rules: must be a list of tables, each written [[rules]], not 5"),
        ("time = 5\n" + ONE, "time: must be a table, written [time], not 5"),
        ("leads = 5\n" + ONE, "leads: must be a list of tables"),
        ("ranges = 5\n" + ONE, "ranges: must be a table"),
        ("replay = 5\n" + ONE, "replay: must be a table"),
        ("replay = { limits = 5 }\n" + ONE, "replay.limits: must be a table"),
        ("time = { grace_min = inf }\n" + ONE, "time.grace_min: must be a number"),
        ("time = { grace_min = 0.5 }\n" + ONE, "time.grace_min: must be a whole number"),
    ],
)
def test_a_plan_of_another_shape_is_a_listed_fault(tmp_path: Path, text: str, wanted: str) -> None:
    [fault] = faults(tmp_path, text)
    assert fault.startswith(wanted)


def test_the_trial_words_are_those_that_alerts_fill_in() -> None:
    words = _words(PLAN.rule("exceed-hour"), Episode(0, 0, 1.0, 40.0, 35.0), "a21026", 35.0, "permit", "")
    assert set(ALERT_WORDS) == {*words, "factor", "source"}
    assert {name for name, word in ALERT_WORDS.items() if isinstance(word, int)} == {
        name for name, word in words.items() if isinstance(word, int)
    }
