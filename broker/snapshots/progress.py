"""Watching over a copy that is being made or reset: its progress, and whether it should go on.

What must stay true: a copy whose snapshot was condemned, or whose worker lost its lock, stops
within about a second, and makes nothing more; also when the server that it waits for hangs, so that
nothing keeps a condemned copy from its end.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import sqlalchemy as sa

from broker.db import Database, Held
from broker.engines.lines import Lines
from broker.errors import Conflict
from broker.snapshots.model import Snapshot
from broker.tx import system

_EVERY_S = 0.5


class CopyStopped(Conflict):
    """The copy was condemned while it was made, or another worker may be at it."""

    type = "copy-stopped"


class Watch:
    """Counts what was done, writes it down now and then, and raises CopyStopped when it is over.

    `state` is the one in which the work makes sense: `copying`, or `ready` for a reset.
    """

    def __init__(
        self,
        database: Database,
        held: Held,
        snapshot_id: str,
        tables: int,
        *,
        state: str = "copying",
    ) -> None:
        self._state = state
        self._database = database
        self._held = held
        self._snapshot_id = snapshot_id
        self._tables = tables
        self._lock = threading.Lock()
        self._bytes: dict[str, int] = {}
        self._done = 0
        self._step = ""
        self._next = 0.0
        self.lines = Lines()  # for the targets on which the work is done

    @contextlib.contextmanager
    def cutting(self) -> Iterator[None]:
        """Meanwhile, look also while the work itself can't, and cut its lines when it is over."""
        over, why = threading.Event(), list[CopyStopped]()

        def look() -> None:
            while not over.wait(_EVERY_S):
                try:
                    self.tick()
                except CopyStopped as stopped:
                    why.append(stopped)
                    return self.lines.cut()
                except sa.exc.DBAPIError:
                    continue  # nothing is known: the work sees it too
            return None

        thread = threading.Thread(target=look, name="watch", daemon=True)
        thread.start()
        try:
            yield
        except Exception:
            if why:  # what was raised is only how the cut showed
                raise why[0] from None
            raise
        finally:
            over.set()
            thread.join()

    def step(self, name: str) -> None:
        """Begin a step, e.g. `definitions`, `rows`, `indexes`, `checks`."""
        with self._lock:
            self._step, self._next = name, 0.0
        self.tick()

    def moved(self, table: str, bytes_so_far: int) -> None:
        with self._lock:
            self._bytes[table] = bytes_so_far
        self.tick()

    def table_done(self) -> None:
        with self._lock:
            self._done += 1

    def tick(self) -> None:
        """Write the progress down if it is time to, and check that the copy should go on."""
        with self._lock:
            if time.monotonic() < self._next:
                return
            self._next = time.monotonic() + _EVERY_S
            progress = {
                "purpose": "reset" if self._state == "ready" else "copy",
                "step": self._step or "definitions",
                "tables_done": self._done,
                "tables": self._tables,
                "bytes": sum(self._bytes.values()),
            }
            if not self._held.still_held():
                raise CopyStopped("this worker lost its hold of the copy; another begins anew")
            with self._database.begin(system("worker")) as tx:
                going_on = tx.session.execute(
                    sa.update(Snapshot)
                    .where(Snapshot.id == self._snapshot_id, Snapshot.state == self._state)
                    .values(progress=progress)
                    .returning(Snapshot.id)
                ).scalar()
            if going_on is None:
                raise CopyStopped("the copy was condemned while it was worked on")
