"""The city's industries: how many plants, how named, what they discharge and under which limits. A table only.

Limits follow GB 13223, GB 13271, GB 4915, GB 18485, GB 18918, GB 8978, GB 16297, GB 41616 and the steel opinion of 2019
(rules B.1-B.7); base oxygen follows rules A.4.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Industry:
    """One of nine industries: how many plants, how named, what it discharges.

    `share` enterprises out of 210; `stacks` and `outfalls` profiles of the outlets; `limits` factor → permit limit in the
    wire unit; `o2` usual oxygen at full load, `base_o2` of the standard (%), `shift` plants stop at night; `kw` production power.
    """

    key: str
    stem: str
    suffix: str
    share: int
    stacks: tuple[str, ...]
    outfalls: tuple[str, ...]
    standard: str
    grade: str
    water_standard: str
    water_grade: str
    base_o2: float | None
    o2: float
    limits: MappingProxyType[str, float]
    kw: float
    treatment: str
    shift: bool = False


def _map(**limits: float) -> MappingProxyType[str, float]:
    return MappingProxyType(limits)


_ULTRA = _map(a34013=10.0, a21026=35.0, a21002=50.0)
_GB8978 = "GB 8978-1996"
INDUSTRIES: tuple[Industry, ...] = (
    Industry(
        "power",
        "热电",
        "厂",
        12,
        ("flue", "flue"),
        (),
        "环发〔2015〕164号",
        "coal boiler",
        "",
        "",
        6.0,
        5.6,
        _ULTRA,
        4200,
        "脱硫脱硝除尘",
    ),
    Industry(
        "cement",
        "水泥",
        "厂",
        14,
        ("flue",),
        (),
        "GB 4915-2013",
        "kiln and heat use",
        "",
        "",
        10.0,
        9.2,
        _map(a34013=20.0, a21026=100.0, a21002=320.0),
        3600,
        "袋式除尘与SNCR",
    ),
    Industry(
        "boiler",
        "供热",
        "站",
        40,
        ("flue",),
        (),
        "GB 13271-2014",
        "gas/new",
        "",
        "",
        3.5,
        4.2,
        _map(a34013=20.0, a21026=50.0, a21002=200.0),
        420,
        "低氮燃烧与除尘",
    ),
    Industry(
        "incineration",
        "垃圾焚烧",
        "厂",
        6,
        ("msw", "msw"),
        ("effluent",),
        "GB 18485-2014",
        "MSW",
        _GB8978,
        "1",
        11.0,
        9.4,
        _map(a34013=30.0, a21026=100.0, a21002=300.0, a21005=100.0, a21024=60.0, w01018=100.0, w21003=15.0),
        1800,
        "半干法脱酸与活性炭",
    ),
    Industry(
        "steel",
        "钢铁",
        "厂",
        10,
        ("flue", "flue"),
        (),
        "环大气〔2019〕35号",
        "sinter head",
        "",
        "",
        16.0,
        15.2,
        _ULTRA,
        5200,
        "湿法脱硫与电除尘",
    ),
    Industry(
        "chemical",
        "化工",
        "厂",
        45,
        ("voc",),
        ("effluent",),
        "GB 16297-1996",
        "other",
        _GB8978,
        "1",
        None,
        20.0,
        _map(a24088=120.0, w01018=100.0, w21003=15.0),
        900,
        "RTO焚烧",
    ),
    Industry(
        "coating",
        "涂装印刷",
        "厂",
        42,
        ("voc",),
        (),
        "GB 41616-2022",
        "stack",
        "",
        "",
        None,
        20.4,
        _map(a24088=70.0),
        320,
        "活性炭吸附脱附",
        shift=True,
    ),
    Industry(
        "sewage",
        "污水处理",
        "厂",
        24,
        (),
        ("sewage",),
        "",
        "",
        "GB 18918-2002",
        "1A",
        None,
        0.0,
        _map(w01018=50.0, w21003=5.0, w21011=0.5, w21001=15.0),
        520,
        "生化曝气",
    ),
    Industry(
        "paper",
        "造纸",
        "厂",
        17,
        (),
        ("effluent",),
        "",
        "",
        _GB8978,
        "1",
        None,
        0.0,
        _map(w01018=100.0, w21003=15.0),
        1100,
        "厌氧好氧处理",
    ),
)
