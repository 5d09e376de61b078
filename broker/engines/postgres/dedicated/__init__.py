"""Dedicated test servers: a PostgreSQL for one copy alone, on an encrypted volume of its own.

    absent ─▶ folder + label ─▶ volume ─▶ mounted ─▶ cluster ─▶ running ─▶ set up
                    any of these ─▶ stopped ─▶ unmounted ─▶ removed ─▶ absent, looked at

The worker on the test host makes and ends them; nobody else can. What must stay true: all that the
server writes (data files, log, temporary files) is on the volume, so it is on the disk as
ciphertext alone; the volume's key comes from the key port for each mount, through a pipe, and is
written nowhere; the label is there before anything else, for the reaper (G14); no superuser can log
in once the broker's account is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self

from broker.errors import Unavailable
from broker.secret import Secret


class HostUnavailable(Unavailable):
    """The test host can't do it, or this process is not on it; nothing is known of what is there.

    The message says what to do.
    """

    type = "host-unavailable"


def volume_place(name: str) -> str:
    """How a volume is called in inventories and on labels; the host's folder is nobody's to know"""
    return f"dedicated/{name}"


@dataclass(frozen=True, slots=True)
class NewServer:
    """`name` begins with `sab_`; `label` names its end for the reaper. `verifier` is SCRAM's, of
    the broker's account `login`. `host` is a socket folder or an address to listen on.
    """

    name: str
    label: str
    host: str
    port: int
    login: str
    verifier: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look finds under a name: its folder, its mount, its processes; and its label."""

    name: str
    folder: bool
    mounted: bool
    processes: int
    label: str | None

    @classmethod
    def nothing(cls, name: str) -> Self:
        return cls(name, folder=False, mounted=False, processes=0, label=None)

    @property
    def is_running(self) -> bool:
        return self.mounted and self.processes > 0


class Volume(Protocol):
    """An encrypted folder, mounted under the key that is given each time."""

    def make(self, sealed: str, key: Secret[bytes]) -> None:
        """Make an empty one in the empty folder `sealed`. Raises HostUnavailable."""

    def mount(self, sealed: str, clear: str, key: Secret[bytes]) -> None:
        """Raises HostUnavailable; also for another key than it was made with."""

    def unmount(self, clear: str) -> None:
        """Idempotent; its process is gone too when this returns. Raises HostUnavailable."""
