"""The I/O process raises its limits; checked in a process of its own, for the settings are global."""

from __future__ import annotations

import subprocess
import sys


def test_files_are_raised_to_the_hard_limit_and_full_collections_are_rare() -> None:
    code = """
import gc, resource, sys
from connectors.process import prepare_io_process
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
got = prepare_io_process(300)
assert got == resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(300, hard)
assert prepare_io_process(200) == got, "never lowered"
assert gc.get_threshold()[2] == 1000 and gc.isenabled() and sys.getswitchinterval() < 0.002
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)
