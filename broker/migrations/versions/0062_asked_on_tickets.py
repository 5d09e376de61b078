"""Requests that an engineer writes as a comment on the ticket."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0062"
down_revision = "0061"


def upgrade() -> None:
    connection = op.get_bind().connection.driver_connection
    assert connection is not None  # noqa: S101  # for the type checker: a bind is connected
    connection.execute((Path(__file__).parents[1] / "0062_asked_on_tickets.sql").read_text())
