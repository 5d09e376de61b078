"""What remains on a shared test server after a destruction: `docs/residue.md` rests on it.

The marks are those that may live in a copy: a value whose column its tenant approved as kept, and
one that an engineer wrote. Before "nothing" is believed, the same search must find them.
"""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from broker.demo.canaries import KEPT_IN_COLUMN, needles
from broker.demo.scan import must_find, must_find_nothing, scan
from tests.stories import ready_copy
from tests.world import World, connect

DATA, WAL = "data files", "write-ahead log"


def parts(data: Path) -> dict[str, Path]:
    """A server's folder, its write-ahead log apart."""
    return {
        WAL: data / "pg_wal",
        **{f"{DATA}: {path.name}": path for path in data.iterdir() if path.name != "pg_wal"},
    }


@pytest.mark.long
def test_after_a_destruction_marks_are_in_the_write_ahead_log_alone_until_its_segments_go(
    world: World,
) -> None:
    """`wal_recycle = off` removes old segments; where it is on, they keep what they held."""
    grant_id, snapshot_id = ready_copy(world)
    written = f"written-{secrets.token_hex(12)}"
    lease_id, password = world.sandbox_lease(snapshot_id)
    world.issue(lease_id)
    with world.login(lease_id, password) as session:
        session.execute("UPDATE crm.companies SET name = %s WHERE id = 1", [written])
    marks = needles(
        {KEPT_IN_COLUMN: world.marks.kept[KEPT_IN_COLUMN], "written by the engineer": written}
    )
    with connect(world.test) as connection:
        connection.execute("CHECKPOINT")
    alive = scan(parts(world.test.data), marks)
    must_find(alive, f"{DATA}: base", marks)
    must_find(alive, WAL, ["written by the engineer"])

    world.close_ticket(world.grant(grant_id).ticket_id)
    world.work()
    assert world.snapshot(snapshot_id).state == "destroyed"

    left = scan(parts(world.test.data), marks)
    assert {hit.root for hit in left.hits} <= {WAL}, "docs/residue.md admits no other place"
    assert left.problems == []
    settings = world.broker.settings
    must_find_nothing(
        scan(
            {
                "store": settings.store.folder or Path(),
                "keyring": settings.keys.keyring or Path(),
                "server's own log": world.test.log,
            },
            marks,
        )
    )

    with connect(world.test) as connection:
        for _ in range(2):
            connection.execute("SELECT pg_switch_wal()")
            connection.execute("CHECKPOINT")
    must_find_nothing(scan(parts(world.test.data), marks))
