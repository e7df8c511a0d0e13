"""The documents say what the code says: a verb, rule, route, setting, column, kind, move or reason without words is a failure."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from datetime import date
from pathlib import Path
from typing import Any, get_args

import pytest

from cases.clocks import CLOSE, RESPOND, Span
from cases.moves import ACTIONS, CASE_STATES, CLOSE_REASONS, MOVES, VERDICTS
from cases.people import ROLES
from connectors.core import CSV, JSON
from connectors.hj212.commands import REQUESTS
from connectors.hj212.exchange import FAULTS
from connectors.hj212.frame import split_buffer
from connectors.hj212.scan import Reason
from connectors.http import CONTENT_TYPES, ingest_app
from console.api import conditions
from console.app import ROUTERS
from offsite.cli import VERBS, parse
from offsite.config_check import CHOICES
from offsite.devices import Devices
from offsite.settings import Settings, load_settings
from streams.codecs import events, readings, rows
from streams.model import SeriesTable
from streams.plan import load_plan
from streams.plan.load import LeadRule, Rule
from streams.registry import load
from streams.registry_tables import TABLES
from streams.screen import FATES

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
GUIDE, INTEGRATION = (ROOT / "docs" / name for name in ("user-guide.md", "integration.md"))
HANDBOOKS = [ROOT / "docs" / name for name in ("handbook.zh-CN.md", "handbook.en.md")]
FOLDERS = ("detectors", "connectors", "streams", "cases", "console", "offsite", "deploy", "tests", "docs")
LANGUAGES = list(zip(HANDBOOKS, (0, 1), strict=True))
LEVELS = ("", "Ⅰ", "Ⅱ", "Ⅲ", "Ⅳ")


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def missing(words: Any, page: Path) -> list[str]:
    """Return the words that the page does not show as code."""
    shown = text(page)
    return [word for word in words if f"`{word}`" not in shown]


def blocks(page: Path) -> Iterator[str]:
    """Yield the indented code blocks of a page."""
    for block in re.findall(r"(?:^ {4}.*\n|(?<=\n)\n(?= {4}))+", text(page), re.MULTILINE):
        yield re.sub(r"^ {4}", "", block, flags=re.MULTILINE).strip("\n")


def commands(source: str) -> Iterator[str]:
    """Yield the `offsite …` lines of some code."""
    for line in source.replace("\\\n", " ").splitlines():
        if found := re.match(r"\s*(?:\.venv/bin/)?offsite (.+)", line):
            yield found[1]


def anchor(heading: str) -> str:
    """Return the anchor that a Markdown viewer gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def section(page: Path, start: str, end: str) -> str:
    """Return what stands between two marks of a page."""
    return text(page).split(start, 1)[1].split(end, 1)[0]


EXAMPLES = sorted({(page.name, line) for page in PAGES for block in blocks(page) for line in commands(block)})


def test_there_are_examples() -> None:
    assert {line.split()[0] for _, line in EXAMPLES} >= set(VERBS)


@pytest.mark.parametrize(("page", "line"), EXAMPLES)
def test_every_command_line_parses(page: str, line: str) -> None:
    words = shlex.split(line, comments=True)
    verb = next((word for word in words if word in VERBS), None)
    parsed = parse(words)
    assert parsed.verb == verb, page


@pytest.mark.parametrize("verb", VERBS)
def test_every_example_in_the_help_parses(verb: str) -> None:
    module = importlib.import_module(f"offsite.cli.{verb.replace('-', '_')}")
    lines = [line for line in commands(module.EXAMPLES) if line.split()[0] in VERBS]
    assert lines
    for line in lines:
        words = re.split(r"\s{3,}", line)[0] if verb == "demo" else line
        parse(shlex.split(words, comments=True))


def test_every_verb_is_in_the_guide_and_no_other() -> None:
    listed = re.findall(r"^\| `offsite ([\w-]+)` \|", text(GUIDE), re.MULTILINE)
    assert sorted(listed) == sorted(VERBS)
    assert missing(VERBS, ROOT / "CHANGELOG.md") == []


@pytest.mark.parametrize("page", HANDBOOKS, ids=lambda page: page.name)
def test_the_handbook_explains_every_rule_and_no_other(page: Path) -> None:
    plan = load_plan()
    part = next(part for part in re.split(r"^#+ ", text(page), flags=re.MULTILINE) if "`exceed-hour`" in part)
    assert set(re.findall(r"^\| `([\w-]+)`", part, re.MULTILINE)) == {rule.id for rule in plan.rules}
    assert missing([rule.id for rule in plan.rules], GUIDE) == []


def test_every_key_of_the_plan_is_in_the_guide() -> None:
    part = section(GUIDE, "## Plan", "## Replay and show")
    plan = tomllib.loads(text(ROOT / "streams" / "plan" / "plan.toml"))
    lead_words = {"zh", "en"}
    assert [f.name for f in fields(Rule) if f"`{f.name}`" not in part] == []
    assert [f.name for f in fields(LeadRule) if f.name not in lead_words and f"`{f.name}`" not in part] == []
    assert [name for name in plan if not re.search(rf"`\[*{name}[\].`]", part)] == []
    assert [name for name in (*plan["time"], *plan["cross_site"]) if f"`{name}`" not in part] == []


def routes(app: Any) -> Iterator[Any]:
    """Yield the routes of an app or router, and those of the routers within."""
    for route in app.routes:
        yield from routes(route.original_router) if hasattr(route, "original_router") else [route]


def served() -> set[tuple[str, str]]:
    """Return (method, path) of every route that programs may call."""
    none: Any = None
    apps = (ingest_app(none, none, decode=none, answers=none), *ROUTERS, Devices(none).router(), conditions.router(none))
    found = {
        (method, route.path)
        for app in apps
        for route in routes(app)
        for method in route.methods or ()
        if method not in {"HEAD", "OPTIONS"}
    }
    assert len(found) > 15
    return found


def test_every_route_is_documented_and_no_other() -> None:
    told = set(re.findall(r"^\| `(GET|POST|PUT|DELETE) (\S+)` \|", text(INTEGRATION), re.MULTILINE))
    assert told == served()


def test_every_status_of_ingest_is_documented() -> None:
    source = text(ROOT / "connectors" / "http.py") + text(ROOT / "connectors" / "http_body.py")
    used = set(re.findall(r"Problem\(\s*(\d{3})", source))
    assert used >= {"401", "403", "413", "415", "422", "429"}
    told = set(re.findall(r"\b\d{3}\b", " ".join(re.findall(r"^\| (\d{3}(?:, \d{3})*) \|", text(INTEGRATION), re.MULTILINE))))
    assert used <= told


def test_every_setting_is_in_the_guide_and_in_the_example() -> None:
    part = section(GUIDE, "## Settings", "## Registry")
    names = [f.name for f in fields(Settings)]
    assert [n for n in names if not any(f"| `{form}` |" in part for form in (n, f"[{n}]", f"[[{n}]]"))] == []
    example = text(ROOT / "deploy" / "offsite.toml")
    assert [n for n in names if not re.search(rf"^(# )?{n} = |^\[{n}\]", example, re.MULTILINE)] == []


def test_the_example_configuration_holds_the_defaults() -> None:
    assert load_settings(ROOT / "deploy" / "offsite.toml", {}, {}) == Settings()


def test_the_example_configuration_is_right_where_it_is_commented_out() -> None:
    lines = text(ROOT / "deploy" / "offsite.toml").splitlines()
    told = [re.sub(r"^# (?=\w+ = )", "", line) for line in lines]
    assert told != lines
    assert set(tomllib.loads("\n".join(told))) == {f.name for f in fields(Settings)}


@pytest.mark.parametrize("name", TABLES)
def test_every_column_of_the_registry_is_in_the_guide(name: str) -> None:
    part = section(GUIDE, f"**`{name}.csv`**", "\n**`" if name != "districts" else "\n## ")
    for column in TABLES[name].columns:
        wanted = f"**`{column.name}`**" if column.required else f"`{column.name}`"
        assert wanted in part, f"{name}.{column.name}"
        assert column.required or f"**`{column.name}`**" not in part, f"{name}.{column.name} is not required"


def test_the_registry_of_the_guide_loads(tmp_path: Path) -> None:
    written = set()
    for name in TABLES:
        part = re.split(r"\n\*\*`|\n## ", text(GUIDE).partition(f"**`{name}.csv`**")[2])[0]
        own = re.search(r"(?:^ {4}.*,.*\n)+", part, re.MULTILINE)
        if own is not None:
            (tmp_path / f"{name}.csv").write_text(re.sub(r"^ {4}", "", own[0], flags=re.MULTILINE), encoding="utf-8")
            written.add(name)
    registry = load(tmp_path)
    assert written >= {"sites", "points", "factors", "limits", "people"}
    assert len(registry.points) == 2
    assert len(registry.limits) == 3


def test_the_integration_guide_knows_every_kind_field_and_reason() -> None:
    fields_of = {name for kind in events.KINDS.values() for name in kind}
    words = {*events.KINDS, *fields_of, *events.REASONS, *rows.REASONS, *rows.FIELDS, *CONTENT_TYPES}
    assert missing(sorted(words), INTEGRATION) == []
    for kind, required in events.REQUIRED.items():
        row = next(line for line in text(INTEGRATION).splitlines() if line.startswith(f"| `{kind}` |"))
        assert re.findall(r"\*\*`(\w+)`\*\*", row) == list(required)


def test_the_integration_guide_knows_the_gateway() -> None:
    words = [*get_args(Reason), *FAULTS, *CHOICES, *(str(v) for name in ("crc", "encoding") for v in CHOICES[name])]
    assert missing(words, INTEGRATION) == []
    part = section(INTEGRATION, "### Commands", "**Gap repair.**")
    told = {cn for row in re.findall(r"^\| ([\d, ]+) \|", part, re.MULTILINE) for cn in row.split(", ")}
    assert told == set(REQUESTS)
    assert [name for names in REQUESTS.values() for name in names if f"`{name}`" not in part] == []


def test_the_frames_shown_are_frames() -> None:
    shown = [line for block in blocks(INTEGRATION) for line in block.splitlines() if line.startswith("##")]
    split = split_buffer("".join(f"{line}\r\n" for line in shown).encode())
    assert [frame.decode() for frame in split.frames()] == shown
    assert len(shown) == 2


def test_the_bodies_shown_are_legible() -> None:
    bodies = [(block, json.loads(found[1])) for block in blocks(INTEGRATION) if (found := re.search(r"-d '(.*)'", block))]
    for block, body in bodies:
        raw = json.dumps(body).encode()
        if "/readings" in block:
            assert readings.decode_readings(JSON, raw, SeriesTable(), 0).rejects == []
        elif "/events" in block:
            assert events.decode_events(JSON, raw)[1] == []
        else:
            assert body["action"] in ACTIONS
    assert len(bodies) == 3
    table = next(block for block in blocks(INTEGRATION) if block.startswith("site,point,factor"))
    decoded = readings.decode_readings(CSV, table.encode(), SeriesTable(), 0)
    assert (len(decoded.readings), decoded.rejects) == (1, [])


def test_every_fate_is_explained() -> None:
    assert re.findall(r"^\| (\w+) \| [^|]+ \|$", section(GUIDE, "| fate |", "## Cases"), re.MULTILINE)[:5] == list(FATES)


@pytest.mark.parametrize(("page", "language"), LANGUAGES, ids=("zh", "en"))
def test_the_handbook_names_every_move_action_reason_and_role(page: Path, language: int) -> None:
    shown = text(page)
    for move in MOVES.values():
        row = next(
            line for line in shown.splitlines() if f" `{move.name}` |" in line and (move.name_zh, move.name_en)[language] in line
        )
        assert [f for f in move.fields if f.choices and not all(choice in row for choice in f.choices)] == []
    for action in ACTIONS.values():
        assert f"| {(action.name_zh, action.name_en)[language]} `{action.name}` |" in shown
    for code, names in CLOSE_REASONS.items():
        assert f"| {names[language]} | `{code}` |" in shown
    assert [word for names in CASE_STATES.values() if (word := names[language]) not in shown] == []
    assert [verdict for verdict in VERDICTS if verdict not in shown] == []
    assert [role for role, zh in ROLES.items() if f"`{role}`" not in shown or zh not in shown] == []


@pytest.mark.parametrize(("page", "language"), LANGUAGES, ids=("zh", "en"))
def test_the_handbook_gives_the_deadlines_of_the_code(page: Path, language: int) -> None:
    units = {
        "hours": ("小时", "hour"),
        "calendar_days": ("个自然日", "calendar day"),
        "working_days": ("个工作日", "working day"),
    }

    def words(span: Span) -> str:
        return f"{span.amount} {units[span.unit][language]}"

    for level, respond in RESPOND.items():
        row = next(line for line in text(page).splitlines() if line.startswith(f"| {LEVELS[level]} "))
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[2].startswith(words(respond)), row
        assert cells[3].startswith(words(CLOSE[level])), row


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_paths_lead_somewhere(page: Path) -> None:
    shown = text(page)
    for target in re.findall(r"\]\(([^)]+)\)", shown):
        if re.match(r"https?://", target):
            continue
        name, _, mark = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        assert there.exists(), target
        if mark:
            assert mark in {anchor(h) for h in re.findall(r"^#+ (.+)$", text(there), re.MULTILINE)}, target
    made = ("tests/scenarios/", "streams/plan/*.csv", "console/web/*.json")
    for path in re.findall(rf"`((?:{'|'.join(FOLDERS)})/[\w./*-]+)`", shown):
        example = "/x" in path or path.startswith(made)
        assert example or (ROOT / path).exists(), path


@pytest.mark.parametrize("page", [*PAGES, ROOT / "deploy" / "offsite.toml"], ids=lambda page: str(page.relative_to(ROOT)))
def test_nothing_unfinished_and_no_place_of_one_machine(page: Path) -> None:
    places = [f"/{folder}/" for folder in ("home", "root", "work", "tmp")]
    assert re.findall("|".join(["TODO", "FIXME", "XXX", "TBD", "lorem", *places]), text(page)) == []


def test_the_folder_map_of_the_readme_is_the_folders() -> None:
    told = re.findall(r"^\| `([\w/]+)/` \|", text(ROOT / "README.md"), re.MULTILINE)
    assert all((ROOT / folder).is_dir() for folder in told)
    packages = tomllib.loads(text(ROOT / "pyproject.toml"))["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert set(packages) <= set(told)


def test_the_changelog_has_the_version() -> None:
    version = tomllib.loads(text(ROOT / "pyproject.toml"))["project"]["version"]
    found = re.search(rf"^## \[{re.escape(version)}\] - (\S+)$", text(ROOT / "CHANGELOG.md"), re.MULTILINE)
    assert found
    date.fromisoformat(found[1])


def test_every_decision_has_its_form_and_is_in_the_index() -> None:
    folder = ROOT / "docs" / "decisions"
    pages = sorted(path for path in folder.glob("*.md") if path.name != "README.md")
    assert re.findall(r"\]\(([\w-]+\.md)\)", text(folder / "README.md")) == [path.name for path in pages]
    for number, page in enumerate(pages, 1):
        assert text(page).startswith(f"# {number:04d} ")
        assert re.findall(r"^\*\*(\w+)\.\*\*", text(page), re.MULTILINE) == ["Objective", "Decision", "Why", "Consequences"]
