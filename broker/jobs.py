"""The queue: Procrastinate on the control database.

A job is put into the queue in the caller's transaction, so it exists exactly when the change does.
It is a hint that work is due now: what must happen stands in tables, and a sweep finds it again
if the job is lost. Arguments are ids only (G11): the library writes them into its log.
"""

from __future__ import annotations

from collections.abc import Sequence

import procrastinate
import sqlalchemy as sa
from procrastinate import PsycopgConnector, SyncPsycopgConnector
from procrastinate.jobs import JobDeferrer
from procrastinate.types import JSONDict

from broker.errors import Invalid
from broker.ids import PREFIXES
from broker.secret import Secret
from broker.tx import Tx

CALLS = "broker_calls"  # the channel on which desks are called
QUEUES = ("access", "copies", "sweeps", "mail", "log")

_WAITING = sa.text(
    "SELECT 1 FROM procrastinate_jobs WHERE task_name = :name AND status = 'todo' LIMIT 1"
)
_CALL = sa.text("SELECT pg_notify(:channel, :text)")


def open_queue(dsn: Secret[str]) -> procrastinate.App:
    """The application object of the queue; the worker registers its tasks on it.

    That a job was fetched or is done need not be on the disk before we go on: after a crash of the
    server it runs again, which is harmless. That it was put is committed with its change.
    """
    hurried = {"options": "-c synchronous_commit=off"}
    return procrastinate.App(connector=PsycopgConnector(conninfo=dsn.reveal(), kwargs=hurried))


# Not for the queue of sweeps: a witness or an authority that is away holds none of them up.
_QUEUE_OF = {"integrate_logs": "log", "seal_epochs": "log", "ask_witnesses": "mail"}
_QUEUE_OF |= {
    "send_webhooks": "mail",
    "mail_checkpoints": "mail",
    "ask_timestamps": "mail",
    "cosign_root": "log",
}


class Queue:
    """Puts jobs into the queue within the caller's transaction.

    On an application object of its own, never opened: it works on the caller's connection only.
    """

    def __init__(self) -> None:
        self._app = procrastinate.App(connector=SyncPsycopgConnector())

    def put(self, tx: Tx, name: str, identity: str, *, queue: str) -> None:
        """Enqueue job `name` for the thing `identity`, at the commit of `tx`."""
        if identity.partition("_")[0] not in PREFIXES:
            raise Invalid("a job takes an id and nothing else")
        self._defer(tx, name, queue, {"identity": identity})

    def put_all(self, tx: Tx, name: str, identities: Sequence[str], *, queue: str) -> None:
        """As `put`, for many things, in one statement."""
        if any(identity.partition("_")[0] not in PREFIXES for identity in identities):
            raise Invalid("a job takes an id and nothing else")
        if identities:
            arguments: list[JSONDict] = [{"identity": identity} for identity in identities]
            self._configure(tx, name, queue).batch_defer(*arguments)

    def call(self, tx: Tx, identity: str, place: str, scope: str) -> None:
        """At the commit of `tx`, call the desks of all workers to a lease that is due.

        A hint like a job, and a cheaper one; lost with whoever does not listen. `place` is the id
        of the database or server where its role stands, `scope` its scope's name.
        """
        text = f"{identity} {place} {scope}"
        tx.session.execute(_CALL, {"channel": CALLS, "text": text})

    def put_sweep(self, tx: Tx, name: str, fence: int) -> None:
        """Enqueue a sweep with the fencing number of the scheduler that leads.

        It goes before what it finds: behind many copies that end, it would see no more of them.
        """
        queue = _QUEUE_OF.get(name, "sweeps")
        self._defer(tx, name, queue, {"fence": fence}, priority=1)

    def is_waiting(self, tx: Tx, name: str) -> bool:
        """Whether a job of that name was put and not begun."""
        return tx.session.scalar(_WAITING, {"name": name}) is not None

    def _defer(
        self,
        tx: Tx,
        name: str,
        queue: str,
        arguments: dict[str, str | int],
        priority: int = 0,
    ) -> None:
        self._configure(tx, name, queue, priority).defer(**arguments)

    def _configure(self, tx: Tx, name: str, queue: str, priority: int = 0) -> JobDeferrer:
        connection = tx.session.connection().connection.driver_connection
        return self._app.configure_task(name, queue=queue, connection=connection, priority=priority)
