"""Breaches of personal data, and their clock."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0058"
down_revision = "0057"


def upgrade() -> None:
    connection = op.get_bind().connection.driver_connection
    assert connection is not None  # noqa: S101  # for the type checker: a bind is connected
    connection.execute((Path(__file__).parents[1] / "0058_breaches.sql").read_text())
