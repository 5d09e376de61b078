"""What is said of a grant on its ticket: that it is open, and that it has ended."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from broker.grants.model import Grant
from broker.tickets import comments
from broker.tx import Tx


def say_opened(tx: Tx, grant: Grant) -> None:
    ends_at = _find_end(tx, grant)
    text = f"Access {grant.id} is open; it ends by {ends_at:%Y-%m-%d %H:%M} UTC at the latest."
    comments.write(tx, grant.ticket_id, f"{grant.id}:opened", text, f"/grants/{grant.id}")


def say_ended(tx: Tx, grant: Grant) -> None:
    """Of what was open. Asked is not done: its logins may still be in the course of being cut."""
    if _find_end(tx, grant) is None:
        return
    text = f"Access {grant.id} has ended. Its page says when its logins and copies are gone."
    comments.write(tx, grant.ticket_id, f"{grant.id}:ended", text, f"/grants/{grant.id}")


def _find_end(tx: Tx, grant: Grant) -> datetime | None:
    return tx.session.scalar(sa.select(Grant.ends_at).where(Grant.id == grant.id))
