"""Room for copies: how much one needs, and what bounds it.

A test server has a capacity and a customer a quota, both set by an operator; none is no bound. What
must stay true: a request for a copy that could never be made gets no plan, so nobody decides about
it, and says why. Whether there is room at this hour is asked when the copy is ordered
(`snapshots.placing`).
"""

from __future__ import annotations

from broker import tenants
from broker.errors import Conflict
from broker.grants.plan import Plan
from broker.tx import Tx

# Indexes, and what a load needs beside them, take about as much as the rows.
_ROOM = 2
_UNITS = ("B", "kB", "MB", "GB", "TB")


class NoRoom(Conflict):
    """The copy would not fit: into a test server, or into what its customer may have at once."""

    type = "no-room"


def needed_bytes(plan: Plan) -> int:
    """What a copy takes on a test server at most, by what the catalogue says of its tables' sizes.

    0 where customers share tables: their sizes are not in the plan, for they tell of others.
    """
    return _ROOM * sum(table.size_bytes for table in plan.tables if table.rows)


def check_possible(tx: Tx, tenant_id: str, plan: Plan) -> None:
    """Raises NoRoom for a copy that would not fit even if there were no other."""
    needed = needed_bytes(plan)
    check_quota(tx, tenant_id, needed, 0)
    servers = [one for one in tenants.list_servers(tx) if one.kind == plan.copy.server]
    sizes = [one.capacity_bytes for one in servers]
    largest = max((size for size in sizes if size is not None), default=0)
    if servers and None not in sizes and needed > largest:
        raise NoRoom(
            f"a copy of these tables needs {told(needed)} and the largest {plan.copy.server} test "
            f"server holds {told(largest)}; ask for live access, or have an operator add room",
            needed_bytes=needed,
        )


def check_quota(tx: Tx, tenant_id: str, needed: int, taken: int) -> None:
    """`taken`: by the customer's other copies. Raises NoRoom."""
    quota = tenants.get_tenant(tx, tenant_id).copies_bytes
    if quota is not None and needed + taken > quota:
        others = f" beside {told(taken)} of others" if taken else ""
        raise NoRoom(
            f"this copy needs {told(needed)}{others}, and this customer's copies may take "
            f"{told(quota)} at once; destroy one, or have an operator raise that",
            needed_bytes=needed,
        )


def told(count: int) -> str:
    """Bytes for a person: `1.5 GB`."""
    value, unit = float(count), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    digits = 0 if value >= 10 or unit == 0 else 1
    return f"{value:.{digits}f} {_UNITS[unit]}"
