"""One door per state: nothing else in this program writes a `state` column.

`advance` is a compare-and-swap. Who loses a race gets a StateConflict that says what the thing is
now, since when and by whom; it is never overwritten. The audit entry is written in the same
transaction (G9).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    model = type(row)
    moved = tx.session.scalar(
        sa.update(model)
        .where(model.id == row.id, model.state.in_(move.froms))
        .values(state=move.to, state_at=tx.at, state_by=tx.actor.person_id, **(values or {}))
        .execution_options(synchronize_session=False, populate_existing=True)
        .returning(model)  # which fills `row`: it is in this session
    )
    if moved is None:
        raise _conflict(tx, model, row.id, move)
    trail.record(tx, TenantId(row.tenant_id), move.kind, row.id, facts, personal)


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
