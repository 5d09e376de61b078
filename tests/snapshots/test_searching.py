"""Before its sandbox is dropped, a copy is searched for real values once more, and it is told."""

from __future__ import annotations

import pytest

from broker.snapshots import certificates
from broker.snapshots.searching import KIND
from broker.snapshots.spot import CANARIES
from tests.stories import ready_copy
from tests.world import World, connect


def end(world: World, grant_id: str) -> None:
    world.close_ticket(world.grant(grant_id).ticket_id)
    world.work()


def told(world: World, snapshot_id: str) -> list[bool]:
    """What the certificate says of the search."""
    with world.as_(world.admin) as tx:
        (row,) = (
            one
            for one in certificates.list_of_tenant(tx, world.tenant)
            if one.snapshot_id == snapshot_id
        )
        statement = certificates.read_statement(row.envelope)
    return [look["found"] for look in statement["looks"] if look["kind"] == KIND]


def test_a_real_value_that_was_put_in_by_hand_is_found_before_the_drop(world: World) -> None:
    grant_id, snapshot_id = ready_copy(world)
    with connect(world.live, world.crm) as real:
        mails = real.execute("SELECT id, email FROM crm.contacts").fetchall()
    with connect(world.test, world.snapshot(snapshot_id).sandbox) as sandbox:
        for identity, mail in mails:
            sandbox.execute("UPDATE crm.contacts SET email = %s WHERE id = %s", [mail, identity])
    end(world, grant_id)
    assert told(world, snapshot_id) == [True]
    (entry,) = (e for e in world.entries() if e["kind"] == "snapshot.searched")
    assert entry["facts"]["columns"] == 1


@pytest.mark.long
def test_a_search_that_can_not_be_made_delays_nothing_and_is_not_claimed(world: World) -> None:
    grant_id, snapshot_id = ready_copy(world)
    folder = world.broker.settings.store.folder
    assert folder is not None
    (folder / world.snapshot(snapshot_id).prefix / CANARIES).unlink()
    end(world, grant_id)
    assert world.snapshot(snapshot_id).state == "destroyed"
    assert told(world, snapshot_id) == []
    assert "snapshot.searched" not in world.kinds()
