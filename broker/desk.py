"""The desk: leases are made and ended here as soon as somebody asks, by no job.

A worker listens for calls, which are made at the commit of what is asked for, and sorts them by the
server that they are for. Each server has a thread of its own while there is something to do: what
comes in while it works is the next batch, and a server that does not answer keeps nobody else.

What must stay true: a call is a hint, like a job. The row says what is due, and a sweep finds it
when a call is lost; what a batch leaves is put into the queue, where each lease is done with all
its care (`grants.lease_steps`).
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Sequence

import psycopg
import sqlalchemy as sa

from broker.bell import TURN_S, Connection, hear
from broker.db import Database
from broker.grants.lease_batches import Batches, Call, Left
from broker.grants.leases import job_of
from broker.grants.model import Lease
from broker.jobs import CALLS, Queue
from broker.logs import get_log
from broker.tx import system

_WORKER = system("worker")
_DUE = ("pending", "revoking")
_AT_ONCE = 50  # leases in a batch
_LANES = 24  # servers at once; calls to more become jobs
_IDLE_S, _AGAIN_S, _PATIENCE_S = 10.0, 0.5, 15.0
_log = get_log(__name__)


class Desk:
    """Takes calls until closed. `work_due` takes what is due now, in the caller's thread."""

    def __init__(self, database: Database, jobs: Queue, batches: Batches) -> None:
        self._database, self._jobs, self._batches = database, jobs, batches
        self._lock = threading.Lock()
        self._lanes: dict[str, queue.SimpleQueue[Call | None]] = {}
        self._threads: set[threading.Thread] = set()
        self._closed = threading.Event()

    def open(self, connect: Callable[[], Connection]) -> None:
        """Start to listen; `connect` opens a session with autocommit on the control database."""
        listener = threading.Thread(target=self._listen, args=(connect,), daemon=True)
        listener.start()
        self._threads.add(listener)

    def close(self) -> None:
        """Take no more calls, and wait a while for the batches under way."""
        self._closed.set()
        with self._lock:
            for lane in self._lanes.values():
                lane.put(None)
        for thread in list(self._threads):
            thread.join(_PATIENCE_S)

    def work_due(self) -> None:
        calls = self._list_due()
        for place in sorted({call.place for call in calls}):
            left = self._take(place, [call for call in calls if call.place == place])
            self._put_jobs([*left.singly, *left.again])

    def _listen(self, connect: Callable[[], Connection]) -> None:
        while not self._closed.is_set():
            with contextlib.suppress(psycopg.Error, sa.exc.DBAPIError):
                hear(connect, CALLS, self._closed, self._call, self._call_due)
            self._closed.wait(TURN_S)

    def _call_due(self) -> None:
        """What was called while nobody listened."""
        for call in self._list_due():
            self._put(call)

    def _call(self, text: str) -> None:
        self._put(Call(*text.split(" ")))

    def _list_due(self) -> list[Call]:
        """Never tried since they became due; what failed is for the sweeps."""
        place = sa.func.coalesce(Lease.database_id, Lease.server_id)
        due = sa.select(Lease.id, place, Lease.scope_name).where(
            Lease.state.in_(_DUE),
            Lease.next_try_at.is_not(None),
            Lease.platform_id.is_(None),
            Lease.storage_id.is_(None),
            Lease.port.is_(None),
            Lease.attempts == 0,
        )
        with self._database.begin(_WORKER) as tx:
            return [Call(*row) for row in tx.session.execute(due.order_by(Lease.next_try_at))]

    def _put(self, call: Call) -> None:
        with self._lock:
            lane = self._lanes.get(call.place)
            if lane is None and len(self._lanes) < _LANES and not self._closed.is_set():
                lane = self._lanes[call.place] = queue.SimpleQueue()
                thread = threading.Thread(target=self._run, args=(call.place, lane), daemon=True)
                self._threads.add(thread)
                thread.start()
            if lane is not None:
                lane.put(call)
                return
        self._put_jobs([call])

    def _run(self, place: str, lane: queue.SimpleQueue[Call | None]) -> None:
        while calls := self._next(place, lane):
            with contextlib.suppress(sa.exc.DBAPIError):  # the control database: a sweep finds them
                left = self._take(place, calls)
                self._put_jobs(left.singly)
                for call in left.again:
                    timer = threading.Timer(_AGAIN_S, self._put, [call])
                    timer.daemon = True
                    timer.start()
        self._threads.discard(threading.current_thread())

    def _next(self, place: str, lane: queue.SimpleQueue[Call | None]) -> list[Call]:
        """What has come in; nothing when the lane is closed, so that nobody puts more into it."""
        with contextlib.suppress(queue.Empty):
            calls = [lane.get(timeout=_IDLE_S)]
            with contextlib.suppress(queue.Empty):
                while len(calls) < _AT_ONCE:
                    calls.append(lane.get_nowait())
            if found := [call for call in calls if call is not None]:
                return found
        with self._lock:
            if lane.empty() or self._closed.is_set():
                del self._lanes[place]
                return []
        return self._next(place, lane)

    def _take(self, place: str, calls: Sequence[Call]) -> Left:
        try:
            return self._batches.take(place, calls)
        except Exception as error:  # noqa: BLE001  # a defect: told, and the lane goes on
            _log.error("batch_failed", place=place, error=type(error).__name__, exc_info=True)
            return Left(calls, [])

    def _put_jobs(self, calls: Sequence[Call]) -> None:
        if not calls:
            return
        with self._database.begin(_WORKER) as tx:
            due = sa.select(Lease).where(
                Lease.id.in_([call.lease_id for call in calls]), Lease.state.in_(_DUE)
            )
            for lease in tx.session.scalars(due):
                self._jobs.put(tx, job_of(lease), lease.id, queue="access")
