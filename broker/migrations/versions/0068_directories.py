"""Directories of tenants."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0068"
down_revision = "0067"


def upgrade() -> None:
    connection = op.get_bind().connection.driver_connection
    assert connection is not None  # noqa: S101  # for the type checker: a bind is connected
    connection.execute((Path(__file__).parents[1] / "0068_directories.sql").read_text())
