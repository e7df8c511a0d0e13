from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import people
from streams import registry
from streams.registry import Bounds, Registry, RegistryFaults
from streams.registry_cells import read_bounds, read_date, read_rings, write, write_bounds
from streams.registry_tables import ROLES

GOOD = {
    "districts": "code,name,parent\n4101,郑州市,\n410102,中原区,4101\n",
    "sites": 'site,name,kind,district,lon,lat,polygon,contact\nS1,甲厂,enterprise,410102,113.6,34.7,"113 34, 114 34, 114 35",张三\nR1,河段,river,,,,,\n',
    "points": "site,point,name,medium,mn,base_o2,standard,class,built,production_unit\n"
    "S1,DA001,1号排口,gas,MN1,6,GB 13223-2011,coal boiler/new,2014-05-01,U1\n"
    "S1,DW001,总排口,water,MN1,,,,2015,\nS1,PW001,电表,power,,,,,,\n",
    "factors": "site,point,factor,wire_unit,range_low,range_high,wet\nS1,DA001,a21026,mg/m3,0,500,yes\n",
    "limits": "site,point,factor,period,limit,unit,source,valid_from,valid_to\n"
    "S1,DA001,a21026,hour,35,mg/m3,permit,2026/1/1,\nS1,DW001,w01001,day,6-9,-,,,\n",
    "equipment": "site,device,kind,rated_kw,serves,meter_point,production_unit\nS1,E1,production,75.5,,PW001,U1\nS1,E2,treatment,15,DA001;U1;E1,,\n",
    "people": "person,name,role,district,site\np1,李四,operator,410102,\np2,王五,enterprise,,S1\n",
}


def folder(path: Path, **tables: str) -> Path:
    for name, text in {**GOOD, **tables}.items():
        (path / f"{name}.csv").write_text(text, encoding="utf-8")
    return path


def faults(path: Path, **tables: str) -> list[str]:
    with pytest.raises(RegistryFaults) as caught:
        registry.load(folder(path, **tables))
    return caught.value.faults


def test_a_good_folder_is_read(tmp_path: Path) -> None:
    found = registry.load(folder(tmp_path))
    site = found.site("S1")
    assert site is not None
    assert (site.lon, site.extra) == (113.6, {"contact": "张三"})
    assert site.polygon == (((113.0, 34.0), (114.0, 34.0), (114.0, 35.0)),)
    point = found.point("S1", "DA001")
    assert point is not None
    assert (point.base_o2, point.class_, point.built) == (6.0, "coal boiler/new", date(2014, 5, 1))
    factor = found.factor("S1", "DA001", "a21026")
    assert factor is not None
    assert (factor.wet, factor.range_high, factor.detection_limit) == (True, 500.0, None)
    assert found.limits_of("S1", "DW001", "w01001")[0].limit == Bounds(6.0, 9.0)
    assert found.limits_of("S1", "DA001", "a21026")[0].valid_from == date(2026, 1, 1)
    assert found.equipment[1].serves == ("DA001", "U1", "E1")
    assert found.site("R1") is not None
    assert (found.site("x"), found.point("S1", "x"), found.factor("S1", "DA001", "x"), found.limits_of("S1", "x", "x")) == (
        None,
        None,
        None,
        [],
    )


def test_a_device_finds_its_point(tmp_path: Path) -> None:
    found = registry.load(folder(tmp_path))
    assert [p.point for p in found.by_mn["MN1"]] == ["DA001", "DW001"]
    assert found.resolve("MN1", "gas") == ("S1", "DA001")
    assert found.resolve("MN1", "water") == ("S1", "DW001")
    assert found.resolve("MN1", "surface_water") == ("S1", "DW001")
    assert found.resolve("MN1", "air") == ("S1", "DA001")
    assert found.resolve("MN1", "noise") == ("S1", "DA001")
    assert found.resolve("MN2", "gas") is None


def test_all_faults_come_at_once_each_with_its_place(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        sites="site,lon,lat,polygon,district\nS1,200,34,,\nS1,,,,\n,1,2,,\nS2,113,,,\nS3,,,113 34,\nS4,,,,999\n",
        points="site,point,medium,mn,built,kv\nS1,DA001,gass,M1,,\nS9,DA001,gas,M2,2026-02-30,0\nS2,DA001,gas,M1,,\nS2,DA002,gas,M1,,\n",
        factors="site,point,factor,range_low,range_high,wet\nS2,DA001,a21026,5,1,\nS2,DA001,a21002,x,,maybe\n",
        limits="site,point,factor,period,limit,unit,valid_from,valid_to\nS2,DA001,a,hourly,1,mg/m3,,\nS2,DA001,a,hour,9-6,mg/m3,,\n"
        "S2,DA001,a,hour,,mg/m3,,\nS2,DA001,a,hour,1,mg/m3,2026-02-01,2026-01-01\nS2,XX,a,hour,1,mg/m3,,\n",
        equipment="site,device,kind,rated_kw,serves,meter_point\nS2,E1,magic,1,,\nS2,E2,treatment,-1,,\nS2,E3,treatment,,DA009,PW9\n",
        people="person,district,site\np1,999,S9\n",
    )
    text = "\n".join(found)
    for wanted in (
        "sites.csv:2 lon: '200' is not within -180 … 180",
        "sites.csv:4 site: is missing",
        "sites.csv:5 lat: is missing beside its partner",
        "sites.csv:6 polygon: a polygon needs at least three corners",
        "sites.csv:7 district: 999 is not in districts",
        "points.csv:2 medium: 'gass' is not one of gas, water, air, surface_water, noise, power, video",
        "points.csv:3 built: '2026-02-30' is not a date",
        "points.csv:3 kv: '0' must be greater than 0",
        "points.csv:5 mn: M1 already serves a gas point at points.csv:4",
        "factors.csv:2 range_high: 1 must be greater than range_low 5",
        "factors.csv:3 range_low: 'x' is not a number",
        "factors.csv:3 wet: 'maybe' is not yes or no",
        "limits.csv:2 period: 'hourly' is not one of realtime, minute",
        "limits.csv:3 limit: '9-6' must rise from low to high",
        "limits.csv:4 limit: is missing",
        "limits.csv:5 valid_to: 2026-01-01 is before valid_from 2026-02-01",
        "limits.csv:6 point: S2/XX is not in points",
        "equipment.csv:2 kind: 'magic' is not one of production, treatment",
        "equipment.csv:3 rated_kw: '-1' must be greater than 0",
        "equipment.csv:4 serves: S2/DA009 is no point, device or production unit of the site",
        "equipment.csv:4 meter_point: S2/PW9 is not in points",
        "people.csv:2 district: 999 is not in districts",
        "people.csv:2 site: S9 is not in sites",
    ):
        assert wanted in text, wanted


def test_a_duplicate_key_names_the_first_place(tmp_path: Path) -> None:
    assert faults(tmp_path, sites=GOOD["sites"] + "S1,,,,,,,\n") == [
        "sites.csv:4 site: duplicate key S1, already given at sites.csv:2"
    ]


def test_a_row_with_a_bad_cell_is_still_compared_with_the_others(tmp_path: Path) -> None:
    assert faults(
        tmp_path,
        sites="site,lon,lat\nS1,200,34\n,1,2\n,1,2\n",
        points="site,point,medium,mn,area_m2\nS1,DA001,gas,M1,x\nS1,DA001,gass,M1,\nS9,DA002,gas,M1,0\n,DA003,water,,\n",
        factors="site,point,factor,range_low,wet\nS1,DA001,a1,x,\nS1,DA001,a1,,maybe\nS1,DA009,a1,y,\n",
        limits="site,point,factor,period,limit,unit\nS1,DA001,a1,hourly,1,g\nS1,DA001,a1,hourly,1,g\n",
        equipment="site,device,kind,serves\n,E1,production,DA001\nS1,E2,magic,DA001;DA009\n",
        people="person,name,role,site\np1,A,boss,S9\n",
        districts="code\n1\n",
    ) == [
        "sites.csv:2 lon: '200' is not within -180 … 180",
        "sites.csv:3 site: is missing",
        "sites.csv:4 site: is missing",
        "points.csv:2 area_m2: 'x' is not a number",
        "points.csv:3 medium: 'gass' is not one of gas, water, air, surface_water, noise, power, video",
        "points.csv:3 point: duplicate key S1/DA001, already given at points.csv:2",
        "points.csv:4 area_m2: '0' must be greater than 0",
        "points.csv:5 site: is missing",
        "factors.csv:2 range_low: 'x' is not a number",
        "factors.csv:3 wet: 'maybe' is not yes or no",
        "factors.csv:3 factor: duplicate key S1/DA001/a1, already given at factors.csv:2",
        "factors.csv:4 range_low: 'y' is not a number",
        "limits.csv:2 period: 'hourly' is not one of realtime, minute, hour, day, month, quarter, 8h, year",
        "limits.csv:3 period: 'hourly' is not one of realtime, minute, hour, day, month, quarter, 8h, year",
        "limits.csv:3 valid_from: duplicate key S1/DA001/a1/hourly/g, already given at limits.csv:2",
        "equipment.csv:2 site: is missing",
        "equipment.csv:3 kind: 'magic' is not one of production, treatment",
        "people.csv:2 role: 'boss' is not one of operator, shift_lead, officer, enterprise, responsible_unit, leader, admin, auditor",
        "points.csv:4 mn: M1 already serves a gas point at points.csv:2; its readings could not be told apart",
        "points.csv:4 site: S9 is not in sites",
        "factors.csv:4 point: S1/DA009 is not in points",
        "people.csv:2 site: S9 is not in sites",
        "equipment.csv:3 serves: S1/DA009 is no point, device or production unit of the site",
    ]


def test_the_same_limit_of_two_dates_is_no_duplicate(tmp_path: Path) -> None:
    more = GOOD["limits"] + "S1,DA001,a21026,hour,50,mg/m3,permit,2020-01-01,2025-12-31\n"
    assert len(registry.load(folder(tmp_path, limits=more)).limits_of("S1", "DA001", "a21026")) == 2


def test_a_required_column_must_be_there(tmp_path: Path) -> None:
    found = faults(tmp_path, points="site,point,mn\nS1,DA001,M\n")
    assert "points.csv:1 medium: the column is missing" in found
    assert "sites.csv:1 site: the column is there twice" in faults(tmp_path, sites="site,site\nS1,S1\n")
    assert "has 3 cells under 1 column names" in faults(tmp_path, sites="site\nS1,b,c\n")[0]


def test_nothing_to_read_says_what_a_registry_is(tmp_path: Path) -> None:
    with pytest.raises(RegistryFaults, match=r"sites\.csv is missing.*folder with sites\.csv"):
        registry.load(tmp_path)
    with pytest.raises(RegistryFaults, match="cannot be read as XLSX"):
        registry.load(tmp_path / "gone.xlsx")
    (tmp_path / "bad.xlsx").write_bytes(b"PK not a workbook")
    with pytest.raises(RegistryFaults, match="cannot be read as XLSX"):
        registry.load(tmp_path / "bad.xlsx")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "gbk"])
def test_every_usual_encoding_is_read(tmp_path: Path, encoding: str) -> None:
    for name, text in GOOD.items():
        (tmp_path / f"{name}.csv").write_bytes(text.replace("\n", "\r\n").encode(encoding))
    assert registry.load(tmp_path) == registry.load(folder(tmp_path))


def test_a_workbook_gives_the_same_registry(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, text in GOOD.items():
        sheet = book.create_sheet(name.title())
        for line in text.splitlines():
            sheet.append([float(c) if c in ("75.5", "15", "6", "0", "500") else c for c in _cells(line)])
    sheet = book["Limits"]
    sheet["H2"] = date(2026, 1, 1)
    book.save(tmp_path / "r.xlsx")
    assert registry.load(tmp_path / "r.xlsx") == registry.load(folder(tmp_path))


def _cells(line: str) -> list[str]:
    import csv

    return next(csv.reader([line]))


def test_a_workbook_s_faults_name_sheet_and_row(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.title = "sites"
    book.active.append(["site"])
    book.active.append(["S1"])
    sheet = book.create_sheet("points")
    sheet.append(["site", "point", "medium", "mn"])
    sheet.append(["S1", "DA001", "gass", "1"])
    book.save(tmp_path / "r.xlsx")
    with pytest.raises(RegistryFaults, match=r"r\.xlsx/points:2 medium: 'gass'"):
        registry.load(tmp_path / "r.xlsx")


def test_an_mn_that_a_spreadsheet_cut_is_told(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.title = "sites"
    for row in (["site"], ["S1"]):
        book.active.append(row)
    sheet = book.create_sheet("points")
    for row in (["site", "point", "medium", "mn"], ["S1", "DA001", "gas", 8.8888880000001e23]):
        sheet.append(row)
    book.save(tmp_path / "r.xlsx")
    with pytest.raises(RegistryFaults, match=r"points:2 mn: .*format the cell as text"):
        registry.load(tmp_path / "r.xlsx")


def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    found = registry.load(folder(tmp_path))
    registry.save(found, tmp_path / "out")
    assert registry.load(tmp_path / "out") == found
    assert registry.from_json(registry.to_json(found)) == found
    registry.save(Registry(sites=found.sites[:1]), tmp_path / "out")
    assert not (tmp_path / "out" / "points.csv").exists()


def test_the_hash_knows_content_not_order(tmp_path: Path) -> None:
    one = registry.load(folder(tmp_path))
    header, *rows = GOOD["points"].splitlines()
    two = registry.load(folder(tmp_path, points="\n".join([header, *reversed(rows)])))
    assert registry.registry_hash(one) == registry.registry_hash(two)
    assert registry.registry_hash(one) != registry.registry_hash(
        registry.load(folder(tmp_path, limits=GOOD["limits"].replace(",35,", ",36,")))
    )


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"sites":5}', '{"sites":[5]}', '{"sites":[{"site":5}]}', '{"points":[{"site":"a"}]}']
)
def test_a_broken_canonical_form_is_a_fault(text: str) -> None:
    with pytest.raises(RegistryFaults):
        registry.from_json(text)


def test_an_inferred_registry(tmp_path: Path) -> None:
    media = registry.INFERRED_POINT
    found = registry.infer([("M1", medium, "x") for medium in ("gas", "water", "noise", "power")] + [("M2", "air", "a34004")])
    assert {(p.site, p.point) for p in found.points} == {
        *(("M1", media[m]) for m in ("gas", "water", "noise", "power")),
        ("M2", "EQ001"),
    }
    assert found.resolve("M1", "noise") == ("M1", "NS001")
    registry.save(found, tmp_path)
    assert registry.load(tmp_path) == found


NAME = st.text(st.characters(categories=["L", "N"], max_codepoint=0x9FFF), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(NAME, st.sampled_from(sorted(registry.MEDIA)), NAME), max_size=12))
def test_any_inferred_registry_survives_its_files(
    tmp_path_factory: pytest.TempPathFactory, seen: list[tuple[str, str, str]]
) -> None:
    found = registry.infer(seen)
    path = tmp_path_factory.mktemp("registry")
    registry.save(found, path)
    assert registry.load(path) == found
    assert json.loads(registry.to_json(found))["districts"] == []


@pytest.mark.parametrize(
    ("factor", "st_code", "medium"),
    [
        ("a21026", "31", "gas"),
        ("a34004", "22", "air"),
        ("w01018", "32", "water"),
        ("w01018", "21", "surface_water"),
        ("Leq", "23", "noise"),
        ("LA", "22", "noise"),
        ("d10001", "31", "power"),
        ("a21026", "32", "gas"),
        ("w01018", "22", "water"),
        ("e30101", "32", "water"),
        ("zzz", "", "gas"),
    ],
)
def test_the_prefix_decides_the_medium(factor: str, st_code: str, medium: str) -> None:
    assert registry.medium_of(factor, st_code) == medium


@pytest.mark.parametrize(
    ("cell", "bounds"),
    [
        ("100", (None, 100.0)),
        ("≤0.5", (None, 0.5)),
        ("<= 3", (None, 3.0)),
        ("≥5", (5.0, None)),
        (">=5", (5.0, None)),
        ("6-9", (6.0, 9.0)),
        ("6~9", (6.0, 9.0)),
        ("6 – 9", (6.0, 9.0)),
        ("-5--1", (-5.0, -1.0)),
        ("5e-05", (None, 5e-05)),
    ],
)
def test_limits_as_people_write_them(cell: str, bounds: tuple[float | None, float | None]) -> None:
    assert read_bounds(cell) == bounds
    assert read_bounds(write_bounds(Bounds(*bounds))) == bounds


@pytest.mark.parametrize("cell", ["", "abc", "≥6-9", "9-6", "6-6", "1e999", "nan", "1,5", "5 mg/L"])
def test_what_is_no_limit(cell: str) -> None:
    with pytest.raises(ValueError, match=r"limit|rise|number"):
        read_bounds(cell)


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_any_bounds_survive_writing(one: float, other: float) -> None:
    for bounds in (Bounds(None, one), Bounds(one, None), *([Bounds(min(one, other), max(one, other))] if one != other else [])):
        assert read_bounds(write_bounds(bounds)) == bounds


def test_polygons_as_people_write_them() -> None:
    square = (((1.0, 2.0), (3.0, 2.0), (3.0, 4.0)),)
    geo = {"type": "Polygon", "coordinates": [[[1, 2], [3, 2], [3, 4], [1, 2]]]}
    for text in (
        "1 2, 3 2, 3 4",
        "1 2,3 2,3 4,1 2",
        "POLYGON((1 2, 3 2, 3 4, 1 2))",
        json.dumps(geo),
        json.dumps({"type": "Feature", "properties": {}, "geometry": geo}),
        json.dumps({"type": "MultiPolygon", "coordinates": [geo["coordinates"]]}),
    ):
        assert read_rings(text) == square, text
    assert len(read_rings("MULTIPOLYGON(((1 2, 3 2, 3 4)),((5 6, 7 6, 7 8)))")) == 2
    assert read_rings(write(read_rings("1 2, 3 2, 3 4; 5 6, 7 6, 7 8"))) == read_rings("1 2, 3 2, 3 4; 5 6, 7 6, 7 8")


@pytest.mark.parametrize(
    "text",
    ["1 2", "1 2, 1 2, 1 2", "a b, c d, e f", "1 2 3, 4 5 6, 7 8 9", "{", '{"type":"Point"}', "200 2, 3 2, 3 4", "1 2,,3 4", ";"],
)
def test_what_is_no_polygon(text: str) -> None:
    with pytest.raises(ValueError, match=r"polygon|Polygon|corner"):
        read_rings(text)


@pytest.mark.parametrize(
    ("cell", "day"),
    [("2026-03-01", (2026, 3, 1)), ("2026/3/1", (2026, 3, 1)), ("20260301", (2026, 3, 1)), ("2026", (2026, 1, 1))],
)
def test_dates_as_people_write_them(cell: str, day: tuple[int, int, int]) -> None:
    assert read_date(cell) == date(*day)


@pytest.mark.parametrize("cell", ["2026-13-01", "26-01-01", "x", "2026-01-01T10:00"])
def test_what_is_no_date(cell: str) -> None:
    with pytest.raises(ValueError, match="is not a date"):
        read_date(cell)


def test_the_roles_are_those_of_the_desk(tmp_path: Path) -> None:
    assert tuple(people.ROLES) == ROLES
    rows = "".join(f"p{k},A,{role},S1\n" for k, role in enumerate(ROLES))
    assert len(registry.load(folder(tmp_path, people="person,name,role,site\n" + rows)).people) == len(ROLES)
