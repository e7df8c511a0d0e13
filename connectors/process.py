"""What a process that serves ten thousand sockets asks of Python and of the kernel. Call it once, in the process's main.

Full garbage collections walk over everything a connection holds: with 10,000 connections on a busy machine one took 0.2-0.5 s,
and no frame is acknowledged meanwhile. Almost all garbage here is freed by reference counts; what is left are cycles of
exceptions, which the young generations find.
"""

from __future__ import annotations

import gc
import resource
import sys

YOUNG, MIDDLE, FULL = 10_000, 10, 1_000
"""Collect the youngest after 10,000 net allocations, the middle after ten of those, everything after a thousand of these."""
SWITCH_S = 0.001
"""The log's thread gets Python's lock back within 1 ms (default 5 ms): it holds the acknowledgements of everybody."""


def calm_collector() -> None:
    """Let the garbage collector walk seldom over what lives long: for the I/O process, the judge and a replay."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, FULL)


def prepare_io_process(files: int = 65_536) -> int:
    """Tune this process for many sockets; return how many files it may have open (at most `files`, at most the hard limit)."""
    calm_collector()
    sys.setswitchinterval(SWITCH_S)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = files if hard == resource.RLIM_INFINITY else min(files, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return soft if soft != resource.RLIM_INFINITY else files
