"""One door per state: nothing else in this program writes a `state` column.

`advance` is a compare-and-swap. Who loses a race gets a StateConflict that says what the thing is
now, since when and by whom; it is never overwritten. The audit entry is written in the same
transaction (G9).
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa

from broker import trail
from broker.db import Base, Stateful
from broker.errors import Conflict, NotFound
from broker.ids import TenantId
from broker.people import shown_name
from broker.trail import Personal
from broker.tx import Tx


class StateConflict(Conflict):
    """Somebody was first. `facts` hold `state`, `at` and, where a person did it, `by`."""

    type = "state-conflict"


@dataclass(frozen=True, slots=True)
class Move:
    """An arrow of a state machine, and the kind of audit entry that it leaves."""

    froms: tuple[str, ...]
    to: str
    kind: str


class StatefulRow(Base, Stateful):
    """A table with a state."""

    __abstract__ = True


R = TypeVar("R", bound=StatefulRow)


def advance(
    tx: Tx,
    row: R,
    move: Move,
    *,
    values: Mapping[str, Any] | None = None,
    facts: Mapping[str, Any] | None = None,
    personal: Sequence[Personal] = (),
) -> None:
    """Move `row` along `move`, setting `values` too, or raise StateConflict."""
    model, values = type(row), values or {}
    moved = tx.session.scalar(
        _one_door(model, move, tuple(values)), _bound(tx, values) | {"row": row.id}
    )
    if moved is None:
        raise _conflict(tx, model, row.id, move)
    trail.record(tx, TenantId(row.tenant_id), move.kind, row.id, facts, personal)


def advance_all(
    tx: Tx,
    model: type[R],
    ids: Collection[str],
    move: Move,
    *,
    values: Mapping[str, Any] | None = None,
    facts: Mapping[str, Any] | None = None,
) -> set[str]:
    """Move those of the rows that are in a state of `move.froms` and that nobody holds just now;
    returns their ids. Each leaves its entry, all with the same facts.

    Nobody is waited for: two that move many rows in different orders would wait for each other.
    What is left out is for `advance`, one by one.
    """
    values = values or {}
    moved = tx.session.execute(
        _door_for_all(model, move, tuple(values)), _bound(tx, values) | {"rows": list(ids)}
    ).all()
    subjects = [(TenantId(tenant_id), row_id) for row_id, tenant_id in moved]
    trail.record_all(tx, subjects, move.kind, facts)
    return {row_id for _, row_id in subjects}


# Statements are built once for each arrow: building one cost as much as running it.


@functools.cache
def _one_door(model: type[StatefulRow], move: Move, names: tuple[str, ...]) -> sa.Update:
    """Sets the columns `names` too; gives the row as it is then, also where it was loaded."""
    return (
        sa.update(model)
        .where(model.id == sa.bindparam("row"), model.state.in_(move.froms))
        .values(_new_values(move, names))
        .returning(model)
        .execution_options(synchronize_session=False, populate_existing=True)
    )


@functools.cache
def _door_for_all(model: type[StatefulRow], move: Move, names: tuple[str, ...]) -> sa.Update:
    rows = sa.any_(sa.bindparam("rows", type_=sa.ARRAY(sa.Text)))
    free = sa.select(model.id).where(model.id == rows, model.state.in_(move.froms))
    return (
        sa.update(model)
        .where(model.id.in_(free.with_for_update(skip_locked=True)))
        .values(_new_values(move, names))
        .returning(model.id, model.tenant_id)
        .execution_options(synchronize_session=False)
    )


def _new_values(move: Move, names: tuple[str, ...]) -> dict[str, Any]:
    columns = ("state_at", "state_by", *names)
    return {**{name: sa.bindparam(f"new_{name}") for name in columns}, "state": move.to}


def _bound(tx: Tx, values: Mapping[str, Any]) -> dict[str, Any]:
    new = {**values, "state_at": tx.at, "state_by": tx.actor.person_id}
    return {f"new_{name}": value for name, value in new.items()}


def record_birth(
    tx: Tx,
    row: R,
    kind: str,
    *,
    facts: Mapping[str, Any] | None = None,
    personal: Sequence[Personal] = (),
) -> None:
    """Store a new row in its first state, with the entry that says so."""
    row.state_at = tx.at
    row.state_by = tx.actor.person_id
    tx.session.add(row)
    tx.session.flush()
    trail.record(tx, TenantId(row.tenant_id), kind, row.id, facts, personal)


def _conflict(tx: Tx, model: type[StatefulRow], row_id: str, move: Move) -> Conflict | NotFound:
    now = tx.session.execute(
        sa.select(
            model.state,
            model.state_at,
            shown_name(model.state_by, model.tenant_id).label("name"),
        ).where(model.id == row_id)
    ).first()
    if now is None:
        return NotFound(f"there is no {row_id}")
    by = f" by {now.name}" if now.name else ""
    return StateConflict(
        f"{row_id} is already {now.state}, since {now.state_at:%Y-%m-%d %H:%M:%S} UTC{by}; "
        f"it can no longer become {move.to}",
        state=now.state,
        at=now.state_at.isoformat(),
        by=now.name,
    )
