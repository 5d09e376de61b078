"""The broker's processes as they run in production, started and ended by the tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from broker.faults import CRASH_VARIABLE
from tests.stories import DEADLINE_S
from tests.world import World

ROOT = Path(__file__).parents[2]


def environment(world: World, **more: str) -> dict[str, str]:
    """Settings of this world's broker; nothing of the caller's."""
    settings = world.broker.settings
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("BROKER_")},
        "BROKER_CONTROL__DSN": settings.control.dsn.reveal(),
        "BROKER_KEYS__KEYRING": str(settings.keys.keyring),
        "BROKER_STORE__FOLDER": str(settings.store.folder),
        "BROKER_VENDOR__HOST": settings.vendor.host,
        **more,
    }


@contextmanager
def running(
    world: World, process: str, *options: str, **more: str
) -> Iterator[subprocess.Popen[bytes]]:
    """`worker`, `scheduler` or `web`, until the block ends; if it fails, what it told is shown."""
    with (
        tempfile.TemporaryFile() as told,  # a pipe that nobody reads would stall it
        subprocess.Popen(
            [sys.executable, "-m", "broker.cli", process, *options],
            cwd=ROOT,
            env=environment(world, **more),
            stdout=subprocess.DEVNULL,
            stderr=told,
        ) as started,
    ):
        try:
            yield started
        except BaseException:
            told.seek(0)
            sys.stderr.write(told.read().decode(errors="replace")[-4000:])
            raise
        finally:
            if started.poll() is None:
                started.send_signal(signal.SIGKILL)


def die_at(world: World, point: str) -> None:
    """Run a worker until it is killed, as by `kill -9`, at a named point."""
    with running(world, "worker", **{CRASH_VARIABLE: point}) as worker:
        assert worker.wait(DEADLINE_S) == -signal.SIGKILL
