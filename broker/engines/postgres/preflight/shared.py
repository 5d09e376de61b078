"""What no privilege hides in a database that several tenants share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from broker.engines import Target
from broker.engines.postgres.looks import session
from broker.engines.postgres.preflight.findings import Finding, Place, listed

# Partitions by list or range, whose bounds are literals; by hash they are numbers.
_BOUNDS: Final = """
    SELECT format('%%I.%%I', n.nspname, c.relname)
      FROM pg_partitioned_table p JOIN pg_class c ON c.oid = p.partrelid
           JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE p.partstrat IN ('l', 'r') AND n.nspname = ANY (%(schemas)s) ORDER BY 1
"""


def check_shared_rows(target: Target, schemas: Sequence[str]) -> list[Finding]:
    """For tenants that share tables. Raises ServerUnavailable."""
    with session(target, options={"default_transaction_read_only": "on"}) as connection:
        return list(_check_bounds(Place(connection, tuple(schemas))))


def _check_bounds(place: Place) -> Iterator[Finding]:
    names = place.names(_BOUNDS)
    if names:
        yield Finding(
            "partition-bounds",
            "warning",
            f"tables whose partitions have literals for bounds: {listed(names)}",
            "Every login of the database reads the names and the bounds of partitions. Where they "
            "name tenants, a lease for one tenant learns of the others; partitions by HASH do not.",
        )
