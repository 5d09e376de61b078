"""Ends of access say where was looked, and what would end a stuck one."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0067"
down_revision = "0065"


def upgrade() -> None:
    connection = op.get_bind().connection.driver_connection
    assert connection is not None  # noqa: S101  # for the type checker: a bind is connected
    connection.execute((Path(__file__).parents[1] / "0067_ends_looked_at.sql").read_text())
