"""Another cluster, or another timeline, behind a registered address (cases 35, 36, 41, 42)."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from broker import janitor, lifecycle
from broker.errors import Conflict, Denied
from broker.grants import contacts
from broker.mail import Mail
from broker.tx import Actor, system
from tests.janitor_world import OURS, live, make_login
from tests.stories import control_superuser, retry
from tests.world import World


def keep(world: World, **values: object) -> None:
    """Pretend that something else was found there at the first contact."""
    with control_superuser(world) as connection:
        for name, value in values.items():
            connection.execute(f"UPDATE tenant_database SET {name} = %s", [value])


def kept(world: World) -> tuple[str | None, int | None, str | None]:
    with world.as_(system("tests")) as tx:
        row = contacts.get_registered(tx, world.database_id)
        return row.cluster, row.timeline, row.found_cluster


def subjects(world: World, actor: Actor) -> list[str]:
    with world.as_(system("tests")) as tx:
        query = sa.select(Mail.subject).where(Mail.person_id == actor.person_id)
        return list(tx.session.scalars(query))


def test_at_another_cluster_nothing_is_made_and_nothing_counts_as_gone(world: World) -> None:
    """The name leads elsewhere: there, the role is absent, which says nothing of where it is."""
    grant_id = world.approved()
    lease_id, password = world.lease(grant_id)
    world.work()
    real = kept(world)[0]
    keep(world, cluster="7000000000000000001")
    with world.as_(world.admin) as tx:
        lifecycle.end_lease_by_click(tx, lease_id, world.broker.queue)
    asked, _ = world.lease(grant_id)
    world.work()
    for identity, state in ((lease_id, "revoking"), (asked, "pending")):
        lease = world.find_lease(identity)
        assert lease.state == state
        assert "another one than before" in (lease.stuck_reason or "")
    world.login(lease_id, password).close()
    for _ in range(2):
        janitor.look_everywhere(world.ports)
    assert kept(world) == ("7000000000000000001", 1, real)
    assert world.kinds().count("server.another") == 1
    for actor in (world.operator, world.admin):
        assert len([s for s in subjects(world, actor) if s.startswith("Another server")]) == 1

    with pytest.raises(Denied), world.as_(world.engineer) as tx:
        contacts.confirm(tx, world.database_id, real or "")
    with pytest.raises(Conflict), world.as_(world.operator) as tx:
        contacts.confirm(tx, world.database_id, "7000000000000000002")
    with world.as_(world.operator) as tx:
        contacts.confirm(tx, world.database_id, real or "")
    world.issue(asked)
    assert "ended first" in (world.find_lease(asked).stuck_reason or "")
    janitor.look_everywhere(world.ports)
    retry(world)
    assert world.find_lease(lease_id).state == "revoked"
    assert world.find_lease(asked).state == "issued"


@pytest.mark.long
def test_after_a_restore_what_came_back_is_ended_before_anything_is_made(world: World) -> None:
    grant_id = world.approved()
    lease_id, _ = world.lease(grant_id)
    world.work()
    cluster = kept(world)[0]
    keep(world, timeline=7)  # as if it had been swept on another
    back, _ = make_login(world, live(world))
    asked, _ = world.lease(grant_id)
    snapshot_id = world.order(grant_id)
    world.work()
    assert "was swept on 7" in (world.find_lease(asked).stuck_reason or "")
    copy = world.snapshot(snapshot_id)
    assert copy.state in {"ordered", "copying"}
    assert "was swept on 7" in (copy.stuck_reason or "")
    assert (back,) in world.find_on_server(world.live, OURS)
    janitor.look_everywhere(world.ports)
    assert kept(world) == (cluster, 1, None)
    left = {name for (name,) in world.find_on_server(world.live, OURS)}
    assert back not in left
    assert world.find_lease(lease_id).role_name in left
    retry(world)
    assert world.find_lease(asked).state == "issued"
    kinds = [kind for kind in world.kinds() if kind.startswith("server.")]
    assert kinds == ["server.met", "server.restored", "server.swept"]


def test_a_clone_with_our_roles_in_it_is_swept_at_first_contact(world: World) -> None:
    """Nobody has met this server yet, and it has a login that no row knows."""
    make_login(world, live(world))
    asked, _ = world.lease(world.approved())
    world.work()
    assert "ended first" in (world.find_lease(asked).stuck_reason or "")
    janitor.look_everywhere(world.ports)
    retry(world)
    assert world.find_lease(asked).state == "issued"
