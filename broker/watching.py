"""A worker's watch over the control database, and what it does in quarantine.

It beats before everything that is ended by time, so a jump of the clock ends nothing. In
quarantine it is no more than the reaper: what is past the end of its own label, by the clock of the
place where it stands, is ended, whatever the record says (G3, G14).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from broker import quarantine
from broker.explained import Login, list_registered
from broker.logs import get_log
from broker.reap import (
    Round,
    check_clock,
    check_host_clock,
    read_server_clock,
    reap_server,
    reap_store,
)
from broker.retries import FAILURES, describe
from broker.settings import Settings
from broker.snapshots.ports import Ports
from broker.stores.s3 import S3Store
from broker.tide import Witness
from broker.tx import system

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_log = get_log(__name__)


def witness() -> Witness:
    """This host's clocks now. The boot clock goes on while the host sleeps."""
    boot_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    return Witness(datetime.now(UTC), _BOOT.read_text().strip(), boot_s)


def is_sound(ports: Ports, settings: Settings) -> bool:
    """Beat; False when the record must not be acted on now. What can't be known is no."""
    try:
        return quarantine.beat(ports.database, ports.keys, witness(), settings.times.clock_jump_s)
    except FAILURES as error:
        _log.error("not_watched", reason=describe(error))
    except sa.exc.DBAPIError as error:
        _log.error("control_database_unavailable", error=type(error.orig).__name__)
    return False


def end_past_labels(ports: Ports, settings: Settings) -> int:
    """What `broker reap` does beside each place, here for all of them; returns how many ended."""
    key = ports.keys.label_key()
    with ports.database.begin(system("watch")) as tx:
        servers = list_registered(tx, ports.keys)

    def reap_at(login: Login) -> Round:
        return reap_server(login.target, key, read_server_clock(login.target))

    def reap_here() -> Round:
        now = datetime.now(UTC)
        if settings.store.folder is not None:
            check_host_clock(settings.store.folder, now)
        elif isinstance(ports.store, S3Store):
            check_clock(ports.store.read_clock(), now)
        return reap_store(ports.store, key, now)

    ended = sum(
        _round(login.id, lambda login=login: reap_at(login))  # type: ignore[misc]
        for server in servers
        for login in server.logins
    )
    return ended + _round("store", reap_here)


def _round(where: str, act: Callable[[], Round]) -> int:
    """A place that does not answer keeps no other."""
    try:
        done = act()
    except FAILURES as error:
        _log.warning("not_reaped", where=where, reason=describe(error))
        return 0
    for what, reason in done.failed.items():
        _log.warning("not_reaped", where=where, what=what, reason=reason)
    return len(done.ended)
