"""All detectors by name. Adding one is a module, a line here, a scenario and a line in the change log."""

from __future__ import annotations

from detectors.constant import Constant
from detectors.core import Detector
from detectors.limit import Limit
from detectors.missing import Missing
from detectors.null import Null
from detectors.range import Range
from detectors.spike import Spike

CATALOG: dict[str, Detector] = {
    "constant": Constant(),
    "limit": Limit(),
    "missing": Missing(),
    "null": Null(),
    "range": Range(),
    "spike": Spike(),
}
