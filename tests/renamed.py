"""A server under a name that can lead elsewhere, as a DNS record can: the tests' way to a failover.

The name is a link to the folder of a server's socket. Without its link a name leads nowhere.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from broker.embedded import EmbeddedServer


@dataclass(frozen=True)
class Name:
    link: Path

    def lead_to(self, server: EmbeddedServer) -> None:
        self.lead_nowhere()
        self.link.symlink_to(server.host)

    def lead_nowhere(self) -> None:
        self.link.unlink(missing_ok=True)


@contextmanager
def named(server: EmbeddedServer) -> Iterator[tuple[Name, EmbeddedServer]]:
    """The name, and the server as it is called by it. Who started `server` stops it."""
    folder = Path(tempfile.mkdtemp(prefix="brk-name-"))  # short: 107 bytes at most
    folder.chmod(0o755)
    name = Name(folder / "n")
    name.lead_to(server)
    try:
        yield name, replace(server, _socket_folder=name.link)
    finally:
        shutil.rmtree(folder)
