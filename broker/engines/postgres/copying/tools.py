"""PostgreSQL's own programs as children: started without a secret in sight, ended for certain.

What must stay true: a child never outlives the block that started it, whatever is raised inside;
and what it complained of is kept short and without rows (`redact`), for tenants' servers put rows
into DETAIL and CONTEXT.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from broker.engines.postgres.connect import ToolConnection, find_tool
from broker.engines.postgres.copying import CopyFailed
from broker.engines.postgres.copying.confined import NOTHING, Reach, confine

BLOCK_BYTES = 1 << 20
ERROR_CHARACTERS = 500
_COMPLAINTS_BYTES = 1 << 16
_POLL_S = 0.5
# Only first lines of errors stay. All else (DETAIL, CONTEXT, HINT, "Command was:", their further
# lines) may hold rows or the tenant's definitions.
_FIRST_LINE = re.compile(r"(?:psql|pg_dump|pg_restore): error: |(?:ERROR|FATAL|PANIC): ")


def redact(complaints: str) -> str:
    """First lines of the errors in a tool's stderr, at most 500 characters."""
    kept = [line.strip() for line in complaints.splitlines() if _FIRST_LINE.match(line)]
    return " / ".join(kept)[:ERROR_CHARACTERS]


@dataclass(frozen=True, slots=True)
class Tool:
    """A running program. `complaints()` is its stderr, whole and unredacted: never show it."""

    name: str
    process: subprocess.Popen[bytes]
    stderr_fd: int

    @property
    def stdout(self) -> IO[bytes]:
        if self.process.stdout is None:
            msg = f"{self.name} was started without a pipe to read from"
            raise ValueError(msg)
        return self.process.stdout

    def complaints(self) -> str:
        raw = os.pread(self.stderr_fd, _COMPLAINTS_BYTES, 0)
        return raw.rstrip(b"\0").decode(errors="replace")

    def check_ended_well(self, checkpoint: Callable[[], None] | None = None) -> None:
        """Wait for the end; `checkpoint` is called meanwhile and may raise. Raises CopyFailed."""
        while True:
            try:
                code = self.process.wait(_POLL_S if checkpoint else None)
                break
            except subprocess.TimeoutExpired:
                if checkpoint is not None:
                    checkpoint()
        if code != 0:
            raise CopyFailed(
                f"{self.name} ended with {code}: {redact(self.complaints())}", tool=self.name
            )


@contextlib.contextmanager
def tool(
    name: str,
    arguments: Sequence[str | bytes],
    *,
    connection: ToolConnection | None = None,
    fds: Sequence[int] = (),
    stdout: int = subprocess.PIPE,
) -> Iterator[Tool]:
    """Start a program of PostgreSQL's; kill it if it still runs when the block ends.

    It runs in a cell where the system has one (see `confined`). Its stdin is empty. `fds` are
    descriptors that it finds under the same numbers.
    """
    reach = NOTHING
    if connection is not None:
        reach = Reach(connection.sockets, connection.sockets is None, connection.files)
    command, as_user = confine([find_tool(name), *arguments], reach)
    with _sealed_memory() as stderr:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            cwd="/",
            env=dict(connection.env) if connection else {"PATH": "/usr/bin:/bin"},
            pass_fds=(*fds, *(connection.pass_fds if connection else ())),
            start_new_session=True,  # Ctrl-C is for us; we end the child in order
            **as_user,
        )
        if process.stdout is not None:
            with contextlib.suppress(OSError):  # a wish: the user's share of pipe pages may be used
                fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, BLOCK_BYTES)
        lines = connection.lines if connection else None
        let_go = lines.hold(process.kill) if lines else None
        try:
            yield Tool(name, process, stderr)
        finally:
            if let_go is not None:
                let_go()
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


@contextlib.contextmanager
def _sealed_memory() -> Iterator[int]:
    """Memory that can't grow: a server that floods us with notices fills 64 KiB and no more.

    A pipe would stall the child when it is full, for nobody reads it until the end.
    """
    descriptor = os.memfd_create("stderr", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, _COMPLAINTS_BYTES)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW)
        yield descriptor
    finally:
        os.close(descriptor)
