"""Child processes of the demo's world: started, watched, and ended, whatever happens.

Each child is in a process group of its own and dies with this process, so that nothing is left
behind, neither by Ctrl-C nor by kill -9.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from broker.errors import Unavailable

_STOP_S = 15


class ChildFailed(Unavailable):
    """A process of the demo's world did not start or ended by itself."""

    type = "child-failed"


@dataclass
class Child:
    """A running process; its output is in `log`."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def check_alive(self) -> None:
        code = self.process.poll()
        if code is not None:
            tail = self.log.read_text(errors="replace")[-1500:]
            raise ChildFailed(f"{self.name} ended with {code}; the end of {self.log}:\n{tail}")

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()


def _with_parent() -> None:
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def start(name: str, command: Sequence[str], env: Mapping[str, str], log: Path) -> Child:
    """Start a child with exactly this environment (PATH and a locale are added)."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C.UTF-8", **env},
            start_new_session=True,
            preexec_fn=_with_parent,  # noqa: PLW1509  # the child only asks to die with us
        )
    return Child(name, process, log)


@contextlib.contextmanager
def running(*children: Child) -> Iterator[None]:
    """Stop the children in reverse order when the block ends."""
    with contextlib.ExitStack() as stack:
        for child in children:
            stack.callback(child.stop)
        yield


def broker_command(*arguments: str) -> list[str]:
    """The command line of this very installation."""
    return [sys.executable, "-m", "broker.cli", *arguments]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_until(condition: Callable[[], bool], what: str, deadline_s: float = 60) -> None:
    """Wait for what another process brings about. Raises ChildFailed when it is late."""
    end = time.monotonic() + deadline_s
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.05)
    raise ChildFailed(f"{what} did not happen within {deadline_s:.0f} seconds")
