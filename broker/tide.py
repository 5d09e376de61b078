"""How far the control database had come, as remembered outside it; and what a difference means.

A control database that was restored has forgotten the latest decisions, and a clock that jumped
would end or lengthen everything at once: neither can be seen from inside. So a worker counts the
database's beats, and keeps the last count beside the keys. Pure: no clock is read here, no file.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from broker.languages import mark

BACK = timedelta(minutes=1)

WHY = {
    "restored": mark("the control database is an older one: it has forgotten what came last"),
    "another-cluster": mark("the control database runs on another cluster than before"),
    "another-timeline": mark("the control server was restored, or a standby took over"),
    "clock-back": mark("the control database's clock went back"),
    "clock-ahead": mark("the control database's clock ran ahead of this host's"),
    "mark-missing": mark("the keyring does not remember how far the control database had come"),
    "mark-unreadable": mark("what the keyring remembers of the control database can't be read"),
}


@dataclass(frozen=True, slots=True)
class Seen:
    """The control database: its count of beats, its cluster and timeline, its clock."""

    serial: int
    cluster: str
    timeline: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Witness:
    """This host's clocks: that on the wall, and the seconds since it booted (`boot` says which)."""

    at: datetime
    boot: str
    boot_s: float


@dataclass(frozen=True, slots=True)
class Mark:
    """What was seen last, by whose clocks; `quarantine` is the one that began with a difference."""

    seen: Seen
    witness: Witness
    quarantine: str | None = None

    def to_bytes(self) -> bytes:
        return json.dumps(asdict(self), default=datetime.isoformat, sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Mark:
        """Raises ValueError, KeyError, TypeError when it is none."""
        found = json.loads(content)
        seen, witness = found["seen"], found["witness"]
        seen["at"] = datetime.fromisoformat(seen["at"])
        witness["at"] = datetime.fromisoformat(witness["at"])
        return cls(Seen(**seen), Witness(**witness), found["quarantine"])


def judge(mark: Mark, seen: Seen, witness: Witness, jump: timedelta) -> list[str]:
    """What of `WHY` is so now; nothing when the database is the one that was seen last, later.

    Downtime is no jump: it is as long by this host's clocks. They are the boot clock while the host
    runs, else the one on the wall: a host and a database that both start with the same wrong clock
    are not told from one that was off.
    """
    last = mark.seen
    found: list[str] = []
    if seen.serial < last.serial:
        found.append("restored")
    if seen.cluster != last.cluster:
        found.append("another-cluster")
    elif seen.timeline != last.timeline:
        found.append("another-timeline")
    drift = (seen.at - last.at) - _elapsed(mark.witness, witness)
    if seen.at < last.at - BACK or drift < -BACK:
        found.append("clock-back")
    if drift > jump:
        found.append("clock-ahead")
    return found


def _elapsed(then: Witness, now: Witness) -> timedelta:
    if then.boot == now.boot:
        return timedelta(seconds=now.boot_s - then.boot_s)
    return now.at - then.at
