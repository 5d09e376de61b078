"""A customer leaves."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0070"
down_revision = "0069"


def upgrade() -> None:
    connection = op.get_bind().connection.driver_connection
    assert connection is not None  # noqa: S101  # for the type checker: a bind is connected
    connection.execute((Path(__file__).parents[1] / "0070_departures.sql").read_text())
