"""What is expected of a backup, and what is unusual about a run. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from statistics import median

from broker.consents.backup_plans import LOCAL
from broker.languages import mark

OTHER_HOST, OTHER_PROGRAM, OTHER_HOUR, OTHER_VOLUME = "host", "program", "hour", "volume"
UNUSUAL: Mapping[str, str] = {
    OTHER_HOST: mark("a session came from another machine than was declared; it was ended"),
    OTHER_PROGRAM: mark("the login was used by something that is no backup program"),
    OTHER_HOUR: mark("it was asked for outside its hours, and refused"),
    OTHER_VOLUME: mark("it is far smaller or larger than those before"),
}
# How PostgreSQL's programs call themselves, and how our wrapper calls what it runs. A name is no
# proof: it tells a careless use from the meant one, not a forged one.
PROGRAMS = frozenset({"pg_dump", "pg_dumpall", "pg_basebackup"})
_COMPARED, _LEAST = 5, 3  # runs before; fewer than three are no measure
_SHARE = 0.5


def is_open(opens: int, closes: int, at: datetime) -> bool:
    """Whether a run may begin at `at`: minutes of the day, UTC; over midnight where they wrap.

    >>> night = (23 * 60, 2 * 60)
    >>> [is_open(*night, datetime(2026, 1, 1, hour, tzinfo=UTC)) for hour in (22, 23, 1, 2)]
    [False, True, True, False]
    """
    local = at.astimezone(UTC)
    minute = local.hour * 60 + local.minute
    if opens == closes:
        return True
    if opens < closes:
        return opens <= minute < closes
    return minute >= opens or minute < closes


def is_other_volume(size: int, before: Sequence[int]) -> bool:
    """Less than half, or more than double, the median of up to five backups before it.

    >>> is_other_volume(40, [100, 110, 90]), is_other_volume(60, [100, 110, 90])
    (True, False)
    >>> is_other_volume(1, [100, 100])
    False
    """
    known = list(before)[:_COMPARED]
    if len(known) < _LEAST:
        return False
    usual = median(known)
    return not _SHARE * usual <= size <= usual / _SHARE


def is_from(host: str, address: str | None) -> bool:
    """Whether a session from `address` (None: by the socket) is from the declared host.

    >>> is_from("192.0.2.0/28", "192.0.2.7"), is_from("192.0.2.0/28", None), is_from("local", None)
    (True, False, True)
    """
    if address is None or host == LOCAL:
        return address is None and host == LOCAL
    return ipaddress.ip_address(address) in ipaddress.ip_network(host)


def find_misuse(host: str, sessions: Collection[tuple[str | None, str]]) -> list[str]:
    """What is wrong with the sessions (address, name of the program) of a run's login.

    A session that has not said its name yet is met again by the next look.

    >>> find_misuse("local", [(None, "pg_dump"), ("192.0.2.7", "psql"), (None, "")])
    ['host', 'program']
    """
    found = {OTHER_HOST for address, _ in sessions if not is_from(host, address)}
    found |= {OTHER_PROGRAM for _, program in sessions if program and program not in PROGRAMS}
    return sorted(found)


def due_at(last: datetime, every_s: int, longest_s: int) -> datetime:
    """Until when the next good backup is to be reported, after one that ended at `last`."""
    return last + timedelta(seconds=every_s + longest_s)
