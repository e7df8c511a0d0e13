"""Other departments' rows in the registry's words: mapped, versioned, merged; every row not taken has a reason and a remedy."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from itertools import permutations
from typing import Any

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.core import CSV, JSON
from connectors.reference import XLSX, Part
from connectors.table import Table, TableFaults
from streams.reference import take
from streams.reference_fit import fitted
from streams.reference_merge import Tables, canonical_text, compose, keyed, rebased, tables_of
from streams.reference_model import REMEDIES, Fault, Source, Taken, source_of
from streams.reference_rows import rows_of
from streams.reference_versions import Change, Kept, Stamp, fold, objections
from streams.registry import from_json
from streams.registry_model import Bounds, Factor, Limit, Point, Registry, Site
from streams.registry_tables import RegistryFaults

SITES = (
    Site("S1", "One", enterprise="甲厂", extra={"credit_code": "91330100AAAA"}),
    Site("S2", "Two", enterprise="乙厂", extra={"credit_code": "91330100BBBB"}),
)
REGISTRY = Registry(
    SITES,
    (Point("S1", "DA001", "gas"), Point("S2", "DA001", "gas")),
    (Factor("S1", "DA001", "a21026", wire_unit="mg/m3"),),
)
PERMITS: dict[str, Any] = {
    "kind": "file",
    "name": "permits",
    "department": "行政审批局",
    "table": "limits",
    "match": {"代码": "credit_code"},
    "columns": {"排口": "point", "污染物": "factor", "限值": "limit", "单位": "unit"},
    "fixed": {"period": "hour", "source": "permit"},
    "values": {"factor": {"二氧化硫": "a21026"}},
    "units": {"g/m3": {"to": "mg/m3", "times": 1000}},
}
HEAD = "代码,排口,污染物,限值,单位\n"
D1, D2, D3 = (date(2026, 3, day) for day in (1, 2, 3))


def source(**more: Any) -> Source:
    values = PERMITS | more
    table = Table(values, "reference[0]", lambda _: b"")
    made = source_of(table, values)
    table.done()
    return made


def stamp(day: date = D1, digest: str = "d1") -> Stamp:
    return Stamp(digest, day.toordinal(), day)


def taken(text: str, registry: Registry = REGISTRY, **more: Any) -> Taken:
    faults: list[Fault] = []
    own = source(**more)
    rows = rows_of(own, [Part("p.csv", CSV, text.encode())], faults)
    return take(own, rows, registry, faults)


def cells(found: Taken) -> list[dict[str, str]]:
    return [dict(entry.cells) for entry in found.entries]


def reasons(found: Taken) -> list[tuple[str, str, str]]:
    assert all(fault.remedy == REMEDIES[fault.reason] for fault in found.faults)
    return [(fault.place, fault.column, fault.reason) for fault in found.faults]


# --- bytes to rows


def workbook(rows: Sequence[Sequence[Any]], merged: Sequence[str] = (), title: str = "许可限值") -> bytes:
    book = openpyxl.Workbook()
    book.active.title = title
    for row in rows:
        book.active.append(row)
    for cells_ in merged:
        book.active.merge_cells(cells_)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def test_a_workbook_with_a_title_a_merged_header_merged_names_and_chinese_dates() -> None:
    body = workbook(
        [
            ["许可排放限值表"],
            ["代码", "排口", "污染物", "许可限值", None, "有效期", None],
            [None, None, None, "数值", "单位", "起", "止"],
            ["91330100AAAA", "DA001", "二氧化硫", 35, "毫克/立方米", "2026年3月1日", "长期"],
            [None, "DA001", "二氧化硫", "1,050", "毫克/标立方米", "２０２０年1月1日", date(2026, 2, 28)],
            [None, None, None, None, None, None, None],
        ],
        ["A1:G1", "A2:A3", "B2:B3", "C2:C3", "D2:E2", "F2:G2", "A4:A5"],
    )
    own = source(
        header=2,
        header_rows=2,
        sheet="许可限值",
        fill=["代码"],
        columns={"排口": "point", "污染物": "factor", "许可限值/数值": "limit", "许可限值/单位": "unit"}
        | {"有效期/起": "valid_from", "有效期/止": "valid_to"},
        values={"factor": {"二氧化硫": "a21026"}, "valid_to": {"长期": ""}},
        dates=["%Y年%m月%d日"],
    )
    faults: list[Fault] = []
    found = take(own, rows_of(own, [Part("permits.xlsx", XLSX, body)], faults), REGISTRY, faults)
    assert found.faults == ()
    common = {"site": "S1", "point": "DA001", "factor": "a21026", "period": "hour", "unit": "mg/m3", "source": "permit"}
    assert cells(found) == [
        common | {"limit": "35", "valid_from": "2026-03-01"},
        common | {"limit": "1050", "valid_from": "2020-01-01", "valid_to": "2026-02-28"},
    ]
    assert [entry.place for entry in found.entries] == ["permits.xlsx:4", "permits.xlsx:5"]


@pytest.mark.parametrize("encoding", ["auto", "gbk", "gb18030"])
def test_a_csv_in_gbk(encoding: str) -> None:
    own = source(encoding=encoding)
    part = Part("p.csv", CSV, (HEAD + "91330100aaaa ,DA001,二氧化硫,35,毫克/立方米\n").encode("gbk"))
    found = take(own, rows_of(own, [part], []), REGISTRY)
    assert cells(found)[0]["unit"] == "mg/m3"
    assert cells(found)[0]["site"] == "S1"


@pytest.mark.parametrize(
    ("part", "more", "words"),
    [
        (Part("a.csv", CSV, b"\xff\xfe\x00"), {"encoding": "utf-8"}, "name its own encoding"),
        (Part("a.csv", CSV, b'a,"b\n'), {}, "cannot be read as CSV"),
        (Part("a.csv", CSV, b""), {}, "no column names in row 1"),
        (Part("a.csv", CSV, b"x,x\n1,2\n"), {}, "x is there twice"),
        (Part("a.xlsx", XLSX, b"PK nothing"), {}, "cannot be read as XLSX"),
        (Part("a.xlsx", XLSX, workbook([["a"]])), {"sheet": "许可"}, "sheet 许可 is missing; it has 许可限值"),
        (Part("a.json", JSON, b'{"data": 1'), {}, "is no JSON"),
        (Part("a.json", JSON, b'{"data": {"list": 1}}'), {"rows": "data.list"}, "no list of objects at 'data.list'"),
        (Part("a.bin", "image/png", b""), {}, "has to be CSV, XLSX or JSON"),
    ],
)
def test_what_can_not_be_read_at_all_is_named_with_its_remedy(part: Part, more: Mapping[str, Any], words: str) -> None:
    with pytest.raises(RegistryFaults, match=words):
        rows_of(source(**more), [part], [])


# --- rows to entries


def test_every_row_not_taken_has_its_place_column_and_reason() -> None:
    rows = [
        "91330100AAAA,DA001,二氧化硫,35,mg/m3",
        "91330100XXXX,DA001,二氧化硫,35,mg/m3",
        "91330100AAAA,DA009,二氧化硫,35,mg/m3",
        "91330100AAAA,DA001,臭气,35,mg/m3",
        "91330100BBBB,DA001,二氧化硫,三十五,mg/m3",
        "91330100AAAA,DA001,二氧化硫,35,ug/m3",
        "91330100AAAA,DA001,二氧化硫,50,mg/m3",
        "91330100AAAA,DA001,二氧化硫,35,mg/m3,too,much",
    ]
    found = taken(HEAD + "\n".join(rows))
    assert reasons(found) == [
        ("p.csv:9", "", "width"),
        ("p.csv:3", "代码", "no_site"),
        ("p.csv:4", "排口", "not_registered"),
        ("p.csv:5", "污染物", "unknown_value"),
        ("p.csv:6", "限值", "cell"),
        ("p.csv:7", "单位", "unit"),
        ("p.csv:8", "valid_from", "repeated"),
    ]
    assert (found.rows, len(found.entries), len(found.faults)) == (8, 1, 7)


def test_units_are_converted_and_limits_may_be_ranges() -> None:
    found = taken(HEAD + "91330100AAAA,DA001,二氧化硫,0.035,g/m3\n91330100BBBB,DA001,二氧化硫,≤0.1,g/m3\n")
    assert [(row["limit"], row["unit"]) for row in cells(found)] == [("35", "mg/m3"), ("100", "mg/m3")]


def test_a_missing_column_is_one_fault_and_nothing_is_taken() -> None:
    found = taken("代码,排口,限值,单位\n91330100AAAA,DA001,35,mg/m3\n")
    assert reasons(found) == [("p.csv", "污染物", "column")]
    assert objections(source(max_faulty=1.0), found, Change()) == [f"permits: the export lacks 污染物; {REMEDIES['column']}"]


def test_rows_that_are_not_meant_are_passed_over_and_counted() -> None:
    text = "代码,排口,污染物,限值,单位,状态\n91330100AAAA,DA001,二氧化硫,35,mg/m3,有效\n合计,,,,,\n"
    found = taken(text, only={"状态": "有效"})
    assert (len(found.entries), found.skipped, found.faults) == (1, 1, ())


def test_a_site_that_two_rows_claim_is_not_guessed() -> None:
    twins = Registry((*SITES, Site("S3", extra={"credit_code": "91330100AAAA"})), REGISTRY.points)
    assert reasons(taken(HEAD + "91330100AAAA,DA001,二氧化硫,35,mg/m3\n", twins)) == [("p.csv:2", "代码", "several_sites")]


def test_spreadsheet_days_are_dates_and_years_are_not_days() -> None:
    more = {"columns": PERMITS["columns"] | {"起": "valid_from"}, "dates": ["excel"]}
    text = (
        HEAD.strip()
        + ",起\n"
        + "".join(f"91330100{c * 4},DA001,二氧化硫,35,mg/m3,{day}\n" for c, day in (("A", 46082), ("B", 2026)))
    )
    assert [row["valid_from"] for row in cells(taken(text, **more))] == ["2026-03-01", "2026-01-01"]


# --- settings


def test_every_fault_of_a_table_is_named() -> None:
    wrong = {
        "kind": "file",
        "name": "a/b",
        "department": "x",
        "table": "limits",
        "columns": {"a": "point"},
        "values": {"nothing": {"1": "2"}},
        "schedule": "daily",
        "precedence": 100,
        "key": ["number"],
        "create": True,
        "colour": "red",
    }
    table = Table(wrong, "reference[2]", lambda _: b"")
    source_of(table, wrong)
    with pytest.raises(TableFaults) as told:
        table.done()
    keys = {fault.partition(":")[0].removeprefix("reference[2].") for fault in told.value.faults}
    assert keys == {"name", "columns", "values.nothing", "schedule", "precedence", "key", "create", "colour"}


# --- versions


def kept_after(before: Sequence[Kept], change: Change) -> list[Kept]:
    closed = {row.id: row for row in change.closed}
    last = len(before)
    return [closed.get(row.id, row) for row in before] + [replace(row, id=last + k) for k, row in enumerate(change.added, 1)]


def history(*exports: tuple[date, str], **more: Any) -> list[Kept]:
    rows: list[Kept] = []
    for day, text in exports:
        rows = kept_after(rows, fold(source(**more), rows, taken(HEAD + text, **more), stamp(day, f"of {day}")))
    return rows


def limits(rows: Sequence[Kept], **more: Any) -> list[tuple[str, str, str, str]]:
    registry = fitted(tables_of(REGISTRY), rows, {"permits": source(**more)}).registry
    return [
        (one.site, str(one.limit.high), str(one.valid_from or ""), str(one.valid_to or ""))
        for one in sorted(registry.limits, key=lambda one: (one.site, one.valid_from or date.min))
    ]


A35, A50, B35 = (
    f"{code},DA001,二氧化硫,{value},mg/m3\n" for code, value in (("91330100AAAA", 35), ("91330100AAAA", 50), ("91330100BBBB", 35))
)


def test_the_first_import_holds_for_the_past_too() -> None:
    assert limits(history((D1, A35))) == [("S1", "35.0", "", "")]


def test_a_changed_limit_has_a_successor_and_the_past_stays() -> None:
    assert limits(history((D1, A35), (D2, A50))) == [("S1", "35.0", "", "2026-03-01"), ("S1", "50.0", "2026-03-02", "")]


def test_a_row_that_disappeared_is_ended_and_one_that_returns_begins_anew() -> None:
    gone = history((D1, A35 + B35), (D2, B35))
    assert limits(gone) == [("S1", "35.0", "", "2026-03-02"), ("S2", "35.0", "", "")]
    back = history((D1, A35 + B35), (D2, B35), (D3, A35 + B35))
    assert limits(back) == [("S1", "35.0", "", "2026-03-02"), ("S1", "35.0", "2026-03-03", ""), ("S2", "35.0", "", "")]
    assert [(row.state, row.digest) for row in back if row.key[0] == "S1"] == [
        ("ended", "of 2026-03-01"),
        ("live", "of 2026-03-03"),
    ]


def test_a_row_that_went_and_came_on_one_day_was_never_gone() -> None:
    assert limits(history((D1, A35 + B35), (D2, B35), (D2, A35 + B35))) == [("S1", "35.0", "", ""), ("S2", "35.0", "", "")]


def test_a_faulty_row_does_not_end_what_it_said_before() -> None:
    illegible = "91330100AAAA,DA001,二氧化硫,?,mg/m3\n"
    assert limits(history((D1, A35 + B35), (D2, illegible + B35))) == [("S1", "35.0", "", ""), ("S2", "35.0", "", "")]
    rows = history((D1, A35 + B35))
    fewer = Registry(SITES[1:], REGISTRY.points[1:])  # the site is gone from the registry, the row is still there
    change = fold(source(), rows, taken(HEAD + A35 + B35, fewer), stamp(D2))
    assert (change.ended, change.same) == ([], 1)


def test_dates_of_the_source_itself_are_corrected_not_versioned() -> None:
    head = HEAD.strip() + ",起\n"
    more = {"columns": PERMITS["columns"] | {"起": "valid_from"}}
    rows: list[Kept] = []
    for day, value in ((D1, 35), (D2, 50)):
        found = taken(f"{head}91330100AAAA,DA001,二氧化硫,{value},mg/m3,2026-01-01\n", **more)
        rows = kept_after(rows, fold(source(**more), rows, found, stamp(day)))
    assert limits(rows, **more) == [("S1", "50.0", "2026-01-01", "")]


def test_an_empty_or_broken_export_wipes_nothing() -> None:
    own = source()
    rows = history((D1, A35 + B35))
    for text, words in (
        ("", "no rows"),
        ("x,DA001,二氧化硫,35,mg/m3\n", "1 of 1 rows are faulty"),
        (A35, "1 of 2 rows in force would end"),
    ):
        found = taken(HEAD + text)
        assert words in objections(own, found, fold(own, rows, found, stamp(D2)))[0]
    found = taken(HEAD + A35)
    assert objections(own, found, fold(own, rows, found, stamp(D2)), may_end=True) == []


exports = st.dictionaries(st.sampled_from([c * 4 for c in "ABCD"]), st.sampled_from(["35", "50", "0.05", "≥6"]), min_size=1)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), exports), min_size=1, max_size=5))
def test_importing_twice_changes_nothing(steps: list[tuple[int, dict[str, str]]]) -> None:
    registry = Registry(
        tuple(Site(c, extra={"credit_code": f"91330100{c * 4}"}) for c in "ABCD"), tuple(Point(c, "DA001", "gas") for c in "ABCD")
    )
    rows: list[Kept] = []
    day = D1.toordinal()
    for wait, export in steps:
        day += wait
        text = HEAD + "".join(f"91330100{code},DA001,二氧化硫,{value},mg/m3\n" for code, value in export.items())
        found = taken(text, registry)
        assert not found.faults
        rows = kept_after(rows, fold(source(), rows, found, stamp(date.fromordinal(day))))
        again = fold(source(), rows, found, stamp(date.fromordinal(day + 1), "again"))
        assert (again.added, again.closed, again.same) == ((), (), len(export))
        now = fitted(tables_of(registry), rows, {"permits": source()}).registry
        for code in "ABCD":
            open_ended = [one for one in now.limits_of(code, "DA001", "a21026") if one.valid_to is None]
            assert len(open_ended) == (code * 4 in export)


# --- merging


def said(name: str, table: str, key: tuple[str, ...], **cells_: str) -> Kept:
    return Kept(name, table, key, cells_, f"{name}.csv:2", "", f"hash of {name}", 0, id=1)


def named(*ranks: tuple[str, int], table: str = "sites") -> dict[str, Source]:
    return {name: Source(name, "file", table, name, precedence=rank) for name, rank in ranks}


def test_the_source_of_the_highest_precedence_fills_a_field_and_the_others_are_shown() -> None:
    sources = named(("low", 10), ("high", 120), ("middle", 50))
    rows = [
        said("low", "sites", ("S1",), site="S1", enterprise="丙厂", industry="水泥"),
        said("middle", "sites", ("S1",), site="S1", industry="陶瓷"),
        said("high", "sites", ("S1",), site="S1", enterprise="丁厂"),
    ]
    found = fitted(tables_of(REGISTRY), rows, sources)
    composed, site = found.composed, found.registry.site("S1")
    assert site is not None
    assert (site.name, site.enterprise, site.industry, site.extra) == ("One", "丁厂", "陶瓷", SITES[0].extra)
    assert composed.origins["sites", ("S1",)]["industry"].source == "middle"
    told = {one.field: (one.source, one.value, one.others) for one in composed.conflicts}
    assert told == {
        "enterprise": ("high", "丁厂", (("registry", "甲厂"), ("low", "丙厂"))),
        "industry": ("middle", "陶瓷", (("low", "水泥"),)),
    }


def test_a_stronger_limit_takes_its_days_and_leaves_the_others() -> None:
    own = Limit("S1", "DA001", "a21026", "hour", Bounds(None, 50.0), "mg/m3", "permit")
    national = Limit("S1", "DA001", "a21026", "hour", Bounds(None, 200.0), "mg/m3", "GB 13223")
    base = tables_of(Registry(REGISTRY.sites, REGISTRY.points, limits=(own, national)))
    where = {"site": "S1", "point": "DA001", "factor": "a21026", "period": "hour", "unit": "mg/m3"}
    strong = {"limit": "35", "source": "许可证", "valid_from": "2026-02-01", "valid_to": "2026-02-28"}
    row = said("permits", "limits", tuple(where.values()), **where, **strong)
    made = fitted(base, [row], {"permits": source(precedence=120, columns=PERMITS["columns"] | {"起": "valid_from"})})
    found = [(str(one.limit.high), str(one.valid_from), str(one.valid_to)) for one in made.registry.limits]
    assert sorted(found) == [
        ("200.0", "None", "None"),
        ("35.0", "2026-02-01", "2026-02-28"),
        ("50.0", "2026-03-01", "None"),
        ("50.0", "None", "2026-01-31"),
    ]
    assert [(one.value, one.source, one.others) for one in made.composed.conflicts] == [("35", "permits", (("registry", "50"),))]


def test_a_site_that_only_its_ended_source_knew_stays_with_its_last_day() -> None:
    sources = {"market": Source("market", "file", "sites", create=True)}
    row = said("market", "sites", ("S9",), site="S9", enterprise="戊厂")
    ended = Kept(
        **{name: getattr(row, name) for name in ("source", "table", "key", "cells", "place", "raw", "digest", "fetched")},
        until="2026-03-02",
        state="ended",
        id=1,
    )
    for rows, extra in (([row], {}), ([ended], {"valid_to": "2026-03-02"})):
        site = fitted(tables_of(REGISTRY), rows, sources).registry.site("S9")
        assert site is not None
        assert (site.enterprise, site.extra) == ("戊厂", extra)


texts = st.sampled_from(["", "甲", "乙", "丙"])
fields_of = st.fixed_dictionaries({"enterprise": texts, "industry": texts, "note": texts})


@settings(max_examples=60, deadline=None)
@given(st.lists(fields_of, min_size=2, max_size=4))
def test_the_order_of_sources_does_not_matter(contents: list[dict[str, str]]) -> None:
    ranks = [(f"s{k}", 20 + 30 * k) for k in range(len(contents))]
    rows = [
        said(name, "sites", ("S1",), site="S1", **{k: v for k, v in one.items() if v})
        for (name, _), one in zip(ranks, contents, strict=True)
    ]
    found = {
        (canonical_text(composed.tables), tuple(composed.conflicts))
        for order in permutations(rows)
        for composed in [compose(tables_of(REGISTRY), order, named(*ranks))]
    }
    assert len(found) == 1


def test_what_people_change_in_the_registry_is_kept_through_imports() -> None:
    base = tables_of(REGISTRY)
    row = said("market", "sites", ("S1",), site="S1", industry="水泥", enterprise="丁厂")
    put = compose(base, [row], named(("market", 120))).tables
    now: Tables = {name: {key: dict(one) for key, one in rows.items()} for name, rows in put.items()}
    now["sites"][("S1",)]["name"] = "Renamed"
    now["sites"][("S7",)] = {"site": "S7"}
    del now["points"]["S2", "DA001"]
    again = rebased(base, put, now)
    assert again["sites"][("S1",)] == base["sites"][("S1",)] | {"name": "Renamed"}
    assert ("S7",) in again["sites"]
    assert ("S2", "DA001") not in again["points"]
    assert rebased(base, put, put) == base


def test_the_text_of_tables_is_that_of_the_registry() -> None:
    text = canonical_text(tables_of(REGISTRY))
    assert keyed(json.loads(text)) == tables_of(REGISTRY)
    assert from_json(text) == REGISTRY
