"""Passkeys, and decisions that are made with one."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0035"
down_revision = "0034"


def upgrade() -> None:
    connection = op.get_bind().connection.driver_connection
    assert connection is not None  # noqa: S101  # for the type checker: a bind is connected
    connection.execute((Path(__file__).parents[1] / "0035_passkeys.sql").read_text())
