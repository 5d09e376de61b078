"""G12. No tenant can learn that another exists.

Here the domain's own functions: another tenant's thing and nothing at all answer with the same
words. Pages and the API have tests of their own.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from broker import enrolling, lifecycle, people, tenants
from broker.engines.postgres.scram import make_verifier, new_password
from broker.enrolling import NewMember
from broker.errors import BrokerError
from broker.grants import deciding, leases, queries
from broker.grants.narrowing import Narrowing
from broker.ids import TenantId, new_id
from broker.jobs import Queue
from broker.snapshots import certificates, ordering
from broker.snapshots import queries as snapshot_queries
from broker.tx import Actor, Tx
from tests.stories import exported, ready_copy
from tests.world import World, enrol

Ask = Callable[[Tx, str, Queue], object]
# What a tenant's person can ask, by the kind of thing that it names.
QUESTIONS: dict[str, tuple[str, Ask]] = {
    "read a grant": ("grt", lambda tx, i, _: queries.get_grant_view(tx, i)),
    "read a plan": ("grt", lambda tx, i, _: queries.get_plan_view(tx, i)),
    "read what was given": ("grt", lambda tx, i, _: queries.get_plan_view(tx, i, "given")),
    "approve": ("grt", lambda tx, i, _: deciding.approve(tx, i, "0" * 64, Narrowing())),
    "refuse": ("grt", lambda tx, i, _: deciding.refuse(tx, i, "not with us")),
    "end a grant": ("grt", lifecycle.end_grant_by_click),
    "read a login": ("lse", lambda tx, i, _: queries.get_lease_view(tx, i)),
    "end a login": ("lse", lifecycle.end_lease_by_click),
    "read a copy": ("snp", lambda tx, i, _: snapshot_queries.get_snapshot_view(tx, i)),
    "destroy a copy": ("snp", lifecycle.condemn_by_click),
    "read a certificate": ("crt", lambda tx, i, _: certificates.check_readable(tx, i)),
    "list certificates": ("tnt", lambda tx, i, _: certificates.list_of_tenant(tx, TenantId(i))),
    "list grants": ("tnt", lambda tx, i, _: queries.list_grants(tx, TenantId(i))),
    "list logins": ("tnt", lambda tx, i, _: queries.list_leases(tx, TenantId(i))),
    "list copies": ("tnt", lambda tx, i, _: snapshot_queries.list_snapshots(tx, TenantId(i))),
    "list databases": ("tnt", lambda tx, i, _: tenants.list_databases(tx, TenantId(i))),
    "end everything": ("tnt", lambda tx, i, q: lifecycle.end_all_of_tenant(tx, TenantId(i), q)),
    "add a person": ("tnt", lambda tx, i, _: people.check(tx, "person:add", TenantId(i))),
    "ask for a login": (
        "grt",
        lambda tx, i, q: leases.ask_live(tx, i, make_verifier(new_password()), q),
    ),
    "ask for a login on a copy": (
        "snp",
        lambda tx, i, q: ordering.ask_sandbox_lease(tx, i, make_verifier(new_password()), q),
    ),
    "order a copy": ("grt", lambda tx, i, q: ordering.order(tx, i, None, q)),
}


def answer(world: World, actor: Actor, ask: Ask, identity: str) -> tuple[object, ...]:
    """What comes back, without the id that was asked for; nothing is kept of it."""
    with pytest.raises(BrokerError) as raised, world.as_(actor) as tx:
        ask(tx, identity, world.broker.queue)
    return (type(raised.value), raised.value.message.replace(identity, "ID"), raised.value.facts)


def test_anothers_thing_and_nothing_answer_in_the_same_words(world: World) -> None:
    grant_id, snapshot_id = ready_copy(world)
    lease_id, _ = world.lease(grant_id)
    world.work()
    world.close_ticket(world.grant(grant_id).ticket_id)
    world.work()
    with world.as_(world.admin) as tx:
        (certificate,) = certificates.list_of_tenant(tx, world.tenant)
    theirs = {
        "grt": grant_id,
        "lse": lease_id,
        "snp": snapshot_id,
        "crt": certificate.id,
        "tnt": world.tenant,
    }
    _, stranger = enrol(world, "Second tenant")
    told = {
        question: (
            answer(world, stranger, ask, theirs[prefix]),
            answer(world, stranger, ask, new_id(prefix)),
        )
        for question, (prefix, ask) in QUESTIONS.items()
    }
    assert {question: pair for question, pair in told.items() if pair[0] != pair[1]} == {}
    with world.as_(world.admin) as tx:  # to its own tenant the same questions are answered
        assert queries.get_grant_view(tx, grant_id).id == grant_id
        assert snapshot_queries.get_snapshot_view(tx, snapshot_id).id == snapshot_id


def test_listings_and_the_log_hold_nothing_of_another_tenant(world: World) -> None:
    grant_id, snapshot_id = ready_copy(world)
    second, stranger = enrol(world, "Second tenant")
    with world.as_(stranger) as tx:
        assert [tenant.id for tenant in tenants.list_tenants(tx)] == [second]
        for listed in (
            queries.list_grants(tx),
            queries.list_leases(tx),
            snapshot_queries.list_snapshots(tx),
            snapshot_queries.list_certificates(tx),
        ):
            assert list(listed) == []
    bundle = exported(world, second)
    for identity in (world.tenant, grant_id, snapshot_id, world.database_id):
        assert identity.encode() not in bundle


def test_ids_tell_neither_number_nor_time() -> None:
    made = [new_id("grt") for _ in range(200)]
    assert len({identity[4:10] for identity in made}) > 190
    assert made != sorted(made)


def test_an_address_that_another_tenant_knows_under_another_name_shows_nothing_of_it(
    world: World,
) -> None:
    other, other_admin = enrol(world, "Second tenant")
    settings = world.broker.settings
    with world.as_(world.admin) as tx:
        mine = NewMember(world.tenant, "Shared.Person+one@x.test", "Known Here", "auditor")
        enrolling.add_member(tx, mine, settings)
    with world.as_(other_admin) as tx:
        theirs = NewMember(other, "shared.person@x.test", "Known There", "auditor")
        enrolling.add_member(tx, theirs, settings)
        seen = {member.name: member.email for member in people.list_members(tx, other)}
    assert seen["Known There"] == "shared.person@x.test"
    assert "Known Here" not in seen
    assert "Known Here" not in str(world.entries(other))
