"""The memory of processes, as Linux counts it."""

from __future__ import annotations

from pathlib import Path


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        threads = [path.name for path in Path(f"/proc/{pid}/task").iterdir()]
        for thread in threads:
            children += Path(f"/proc/{pid}/task/{thread}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(below for child in set(children) for below in tree(int(child)))]


def pss_mb(pid: int) -> float:
    """With its part of what it shares with others; 0 when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)
