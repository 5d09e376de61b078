"""The host of dedicated test servers, where this worker is on one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from broker import bootstrap
from broker.doctor.line import Line, bad, ok, warn
from broker.engines.postgres.dedicated.volume import find_lack
from broker.settings import Settings

_WHAT = "dedicated servers"
_SWAPS = Path("/proc/swaps")


def checks(settings: Settings) -> dict[str, Callable[[], Iterator[Line]]]:
    return {_WHAT: lambda: _check(settings)} if settings.host.folder is not None else {}


def _check(settings: Settings) -> Iterator[Line]:
    """Raises HostUnavailable, SettingsError, which say what to do."""
    host = bootstrap.build_host(settings.host)
    assert host is not None  # noqa: S101  # for the type checker: its folder is set
    lack = find_lack()
    if lack is not None:
        yield bad(_WHAT, "volumes can't be mounted here", lack)
        return
    servers = sum(seen.is_running for seen in host.look())
    yield ok(_WHAT, f"{servers} run in {host.folder}, which has {host.free_bytes() >> 30} GiB left")
    if os.geteuid() != 0:
        says = "run as this worker's own user, who could read the key of a mounted volume"
        yield warn("their user", says, "run this worker as root, or on a host of its own")
    if len(_SWAPS.read_text().splitlines()) > 1:
        says = "this host swaps: what servers hold in memory may lie on its disk in clear"
        yield bad("their memory", says, "run: swapoff -a, or swap under a random key")
