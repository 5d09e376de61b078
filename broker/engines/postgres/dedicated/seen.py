"""What the kernel says of a folder: what is mounted there, and which processes are at it.

A look reads /proc alone, never what we remember. What must stay true: a look that can't see our own
process, or the mount of the root, is blind, and "can't see" is never "absent" (G8).
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from broker.engines.postgres.dedicated import HostUnavailable

_PROC = Path("/proc")
_WITHIN_S = 20
_ESCAPES = {"\\040": " ", "\\011": "\t", "\\012": "\n", "\\134": "\\"}


def is_mounted(folder: str) -> bool:
    return folder in list_mounts()


def list_mounts() -> set[str]:
    """Raises HostUnavailable when the look is blind."""
    try:
        lines = (_PROC / "self" / "mountinfo").read_text().splitlines()
    except OSError as error:
        raise HostUnavailable(f"mounts can't be listed: {error.strerror}") from None
    found = {_unescape(line.split(" ")[4]) for line in lines}
    if "/" not in found:
        raise HostUnavailable("the look at mounts is blind: it does not see the root's")
    return found


def _unescape(text: str) -> str:
    for written, meant in _ESCAPES.items():
        text = text.replace(written, meant)
    return text


def list_processes(folder: str) -> list[int]:
    """Ids of processes that work in `folder` or were started on it. Raises HostUnavailable."""
    found: list[int] = []
    seen: set[int] = set()
    for entry in _PROC.iterdir():
        if not entry.name.isdigit():
            continue
        seen.add(int(entry.name))
        if _is_at(entry, folder):
            found.append(int(entry.name))
    if os.getpid() not in seen:
        raise HostUnavailable("the look at processes is blind: it does not see our own")
    return sorted(found)


def _is_at(process: Path, folder: str) -> bool:
    """By its working folder, or by a word of its command line; a dead one has neither."""
    with contextlib.suppress(OSError):
        cwd = str((process / "cwd").readlink()).removesuffix(" (deleted)")
        if cwd == folder or cwd.startswith(f"{folder}/"):
            return True
    with contextlib.suppress(OSError):
        words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
        return any(word == folder or word.startswith(f"{folder}/") for word in words)
    return False


def wait_until(done: Callable[[], bool], problem: str) -> None:
    """Raises HostUnavailable with `problem` when it does not come to pass in time."""
    deadline = time.monotonic() + _WITHIN_S
    while not done():
        if time.monotonic() > deadline:
            raise HostUnavailable(problem)
        time.sleep(0.02)
