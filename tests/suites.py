"""Run the suites one after the other and print the seconds of each; the exit code is 0 only if all passed.

python tests/suites.py [unit|faults|chaos|servers|browser …]
"""

from __future__ import annotations

import subprocess
import sys
import time

BUDGETS = {"unit": 360, "faults": 300, "chaos": 200, "servers": 600, "browser": 180}
"""Suite → seconds it may take on two cores; printed beside what it took, never enforced."""
MARKS = {
    "unit": "not faults and not servers and not browser",
    "faults": "faults and not chaos",
    "chaos": "chaos",
    "servers": "servers and not faults",
    "browser": "browser",
}


def main(wanted: list[str]) -> int:
    """Run the wanted suites (all by default)."""
    took, failed = {}, []
    for suite in wanted or list(MARKS):
        started = time.monotonic()
        code = subprocess.call([sys.executable, "-m", "pytest", "-q", "-m", MARKS[suite], "tests"])
        took[suite] = time.monotonic() - started
        if code:
            failed.append(suite)
    for suite, seconds in took.items():
        print(f"{suite:8} {seconds:6.0f} s of {BUDGETS[suite]} s   {'FAILED' if suite in failed else 'passed'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
