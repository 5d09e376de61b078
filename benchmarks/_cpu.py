"""Processor time of process trees: what a lease costs, whatever else the machine does meanwhile.

A tree's time is that of its processes now, and of those that ended and were waited for by one of
them: so a server's sessions count after they are closed. Linux alone: /proc.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PARENT, _TIMES = 1, slice(11, 15)  # of /proc/PID/stat behind the name: ppid; utime … cstime


def cpu_s(roots: Iterable[int]) -> float:
    """Seconds of the trees that begin at `roots`, of all threads, in user and kernel."""
    found = dict(_read(path) for path in Path("/proc").glob("[0-9]*/stat"))
    found.pop(0, None)
    tree, before = set(roots), -1
    while len(tree) != before:
        before = len(tree)
        tree |= {pid for pid, (parent, _) in found.items() if parent in tree}
    return sum(found[pid][1] for pid in tree if pid in found) / _TICKS


def _read(path: Path) -> tuple[int, tuple[int, int]]:
    """(pid, (parent, ticks)); pid 0 for a process that ended meanwhile."""
    try:
        fields = path.read_text().rpartition(")")[2].split()
    except OSError:
        return 0, (0, 0)
    return int(path.parent.name), (int(fields[_PARENT]), sum(map(int, fields[_TIMES])))
