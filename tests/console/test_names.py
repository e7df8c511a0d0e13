from __future__ import annotations

from console.names import Names, Remembered
from tests.console.world import registry


def test_codes_get_names_and_unknown_ones_stay_codes() -> None:
    names = Names(registry)
    known = names.label({"site": "XS001", "point": "DA001", "factor": "a21026"})
    assert (known["site_name"], known["factor_zh"], known["factor_en"]) == ("示例热电一号厂", "二氧化硫", "SO₂")
    strange = names.label({"site": "MN9", "point": None, "factor": "a99999"})
    assert (strange["site_name"], strange["point_name"], strange["factor_zh"]) == ("MN9", None, "a99999")


def test_a_site_is_asked_for_again_only_after_a_while() -> None:
    asked: list[str] = []
    at = [0.0]

    def lookup(site: str) -> dict[str, object]:
        asked.append(site)
        return {"name": f"{site}-{len(asked)}"}

    known = Remembered(lookup, lambda: at[0], keep_s=10.0)
    assert [known("A")["name"], known("A")["name"], known("B")["name"]] == ["A-1", "A-1", "B-2"]
    at[0] = 11.0
    assert known("A")["name"] == "A-3"
