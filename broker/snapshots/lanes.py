"""Whose copy a worker turns to next: lanes with few places, in which tenants take turns.

    ends     copies whose end is tried for the first time
    stuck    ends that failed before, and looks that are repeated
    makings  copies that are made, or loaded again

A worker does a handful of jobs at once, and any of them may hang on a server for a minute. What
must stay true: what is stuck takes no place of what is fresh, no end waits for a making, and no
tenant takes all places of a lane. What finds no place waits here and its job is over; whoever
leaves the lane goes on with it. Such a wait is a hint like a job: the row says what is due, and a
sweep finds it again when this worker dies.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from broker.errors import NOT_THERE, NotFound
from broker.snapshots.model import Remnant, Snapshot
from broker.tx import Tx


@dataclass(frozen=True, slots=True)
class Task:
    """`name` is what it is known by while it waits or runs, a job and an id."""

    tenant_id: str
    name: str
    act: Callable[[], None]


class Lane:
    """`places` at once, of which one tenant takes `each` at the most. Threads share it."""

    def __init__(self, places: int, *, each: int) -> None:
        self.places = places
        self._each = each
        self._lock = threading.Lock()
        self._inside: set[str] = set()
        self._at_work: Counter[str] = Counter()  # places taken, by tenant
        self._waiting: dict[str, deque[Task]] = {}  # by tenant; whose turn is next stands first

    def run(self, task: Task, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Do it now, and then what waits for its place; or let it wait for one.

        What is inside already is not taken twice. Raises what a task raised, once nobody waits for
        this place any more: it keeps nobody else.
        """
        failure: Exception | None = None
        turn = self._enter(task)
        while turn is not None:
            try:
                turn.act()
            except Exception as error:  # noqa: BLE001  # a defect, and told by its own job
                failure = error
            turn = self._leave(turn, stop=should_stop())
        if failure is not None:
            raise failure

    def _enter(self, task: Task) -> Task | None:
        with self._lock:
            if task.name in self._inside:
                return None
            self._inside.add(task.name)
            self._waiting.setdefault(task.tenant_id, deque()).append(task)
            return self._next()

    def _leave(self, task: Task, *, stop: bool) -> Task | None:
        """What is done next in the place that is left; nothing any more when the worker ends."""
        with self._lock:
            self._inside.remove(task.name)
            self._at_work[task.tenant_id] -= 1
            if stop:
                self._inside -= {one.name for line in self._waiting.values() for one in line}
                self._waiting.clear()
            return self._next()

    def _next(self) -> Task | None:
        """Take the first of the tenant whose turn it is; the tenant goes to the end of the line."""
        if self._at_work.total() >= self.places:
            return None
        for tenant_id, line in self._waiting.items():
            if self._at_work[tenant_id] < self._each:
                self._at_work[tenant_id] += 1
                task = line.popleft()
                del self._waiting[tenant_id]
                if line:
                    self._waiting[tenant_id] = line
                return task
        return None


class Lanes:
    """Those of one worker."""

    def __init__(self) -> None:
        self.ends, self.stuck, self.makings = Lane(12, each=8), Lane(2, each=1), Lane(3, each=2)

    @property
    def places(self) -> int:
        return sum(lane.places for lane in (self.ends, self.stuck, self.makings))

    def of_end(self, attempts: int) -> Lane:
        return self.stuck if attempts else self.ends


def find_owner(tx: Tx, identity: str) -> tuple[str, int]:
    """The tenant of a copy or remnant, and how often what is due of it failed. Raises NotFound."""
    model = Remnant if identity.startswith("rmn_") else Snapshot
    query = sa.select(model.tenant_id, model.attempts).where(model.id == identity)
    row = tx.session.execute(query).one_or_none()
    if row is None:
        raise NotFound(NOT_THERE)
    return row.tenant_id, row.attempts
