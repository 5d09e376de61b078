"""What weighs more in a database that several tenants share, and what no privilege hides there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from broker.engines import Target
from broker.engines.postgres.looks import session
from broker.engines.postgres.preflight.findings import Finding, Place, listed

# Ways around the views of a scope: to another tenant's rows, where there are such.
_FATAL_IF_SHARED: Final = frozenset(
    {
        *("definer-function-public", "extension-reaches-out"),
        *("foreign-server-public", "user-mapping-public"),
    }
)
# Partitions by list or range, whose bounds are literals; by hash they are numbers.
_BOUNDS: Final = """
    SELECT format('%%I.%%I', n.nspname, c.relname)
      FROM pg_partitioned_table p JOIN pg_class c ON c.oid = p.partrelid
           JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE p.partstrat IN ('l', 'r') AND n.nspname = ANY (%(schemas)s) ORDER BY 1
"""


def weigh_shared(findings: Iterable[Finding]) -> list[Finding]:
    """The findings of a database that tenants share, the worst first."""
    weighed = [
        replace(found, severity="fatal") if found.code in _FATAL_IF_SHARED else found
        for found in findings
    ]
    return sorted(weighed, key=lambda found: found.severity != "fatal")


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
