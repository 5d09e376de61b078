"""The first form of the control database, with the queue's own schema."""

from __future__ import annotations

from pathlib import Path

import procrastinate.schema
from alembic import op

revision = "0001"
down_revision = None

QUEUE_RIGHTS = """
GRANT SELECT, INSERT, UPDATE, DELETE ON procrastinate_jobs, procrastinate_events,
    procrastinate_periodic_defers, procrastinate_workers TO broker_app;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO broker_app;
"""


def upgrade() -> None:
    """Raw SQL through the driver: what runs is what the files say."""
    connection = op.get_bind().connection.driver_connection
    assert connection is not None  # noqa: S101  # for the type checker: a bind is connected
    own = (Path(__file__).parents[1] / "0001_first.sql").read_text()
    for script in (own, procrastinate.schema.SchemaManager.get_schema(), QUEUE_RIGHTS):
        connection.execute(script)
