"""Comments on tickets."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0036"
down_revision = "0035"


def upgrade() -> None:
    connection = op.get_bind().connection.driver_connection
    assert connection is not None  # noqa: S101  # for the type checker: a bind is connected
    connection.execute((Path(__file__).parents[1] / "0036_comments_on_tickets.sql").read_text())
