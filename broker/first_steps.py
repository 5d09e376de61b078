"""What a new broker still lacks, in the order in which one thing rests on another.

What must stay true: a step counts as done by what was seen, never by what was said: a look by
preflight, a published key, a mail that went out, a copy that was whole. How far somebody came is
kept nowhere, so it can be left and taken up again, by anybody who may register servers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa

from broker import people, tenants
from broker.grants import preflights
from broker.grants.preflights import PreflightView
from broker.keys.intake import INTAKE_KEY
from broker.mail import Mail
from broker.snapshots.model import Snapshot
from broker.tickets.mirror import Ticket
from broker.tickets.reach import list_unreached
from broker.tx import Tx

State = Literal["done", "open", "wrong"]
_OPERATORS = 2  # one alone can't be replaced when it matters


@dataclass(frozen=True, slots=True)
class Step:
    """`name` is one of STEPS; `seen` how many of what it asks for are there."""

    name: str
    state: State
    seen: int = 0


def list_steps(tx: Tx) -> list[Step]:
    """Raises Denied to who may not register servers."""
    people.check(tx, "server:register")
    views = preflights.list_views(tx)
    return [look(tx, views) for look in STEPS.values()]


def _look_at_worker(tx: Tx, _: Sequence[PreflightView]) -> Step:
    there = tenants.find_published_key(tx, INTAKE_KEY) is not None
    return Step("worker", "done" if there else "open")


def _look_at_people(tx: Tx, _: Sequence[PreflightView]) -> Step:
    members = people.list_members(tx, None)
    operators = sum(one.role == "operator" and not one.disabled for one in members)
    return Step("people", "done" if operators >= _OPERATORS else "open", operators)


def _look_at_tenants(tx: Tx, _: Sequence[PreflightView]) -> Step:
    count = len(tenants.list_tenants(tx))
    return Step("tenant", "done" if count else "open", count)


def _look_at_databases(_: Tx, views: Sequence[PreflightView]) -> Step:
    return _judge("database", [view for view in views if view.tenant_name is not None])


def _look_at_servers(_: Tx, views: Sequence[PreflightView]) -> Step:
    return _judge("server", [view for view in views if view.tenant_name is None])


def _judge(name: str, views: Sequence[PreflightView]) -> Step:
    """Done with one that was looked at and holds nothing fatal; wrong when none does."""
    good = sum(view.checked_at is not None and not view.fatal for view in views)
    return Step(name, "done" if good else "wrong" if views else "open", len(views))


def _look_at_tickets(tx: Tx, _: Sequence[PreflightView]) -> Step:
    seen = tx.session.scalar(sa.select(sa.func.count()).select_from(Ticket)) or 0
    return Step("tickets", "wrong" if list_unreached(tx) else "done" if seen else "open", seen)


def _look_at_mail(tx: Tx, _: Sequence[PreflightView]) -> Step:
    sent, stuck = tx.session.execute(
        sa.select(
            sa.func.count(Mail.sent_at),
            sa.func.count(Mail.stuck_since).filter(Mail.sent_at.is_(None)),
        )
    ).one()
    return Step("mail", "done" if sent else "wrong" if stuck else "open", sent)


def _look_at_copies(tx: Tx, _: Sequence[PreflightView]) -> Step:
    """A copy that was whole proves store, keys and tools in one."""
    whole = tx.session.scalar(sa.select(sa.func.count(Snapshot.ready_at))) or 0
    return Step("copy", "done" if whole else "open", whole)


STEPS: Mapping[str, Callable[[Tx, Sequence[PreflightView]], Step]] = {
    "worker": _look_at_worker,
    "mail": _look_at_mail,
    "people": _look_at_people,
    "tenant": _look_at_tenants,
    "database": _look_at_databases,
    "server": _look_at_servers,
    "tickets": _look_at_tickets,
    "copy": _look_at_copies,
}
