"""Cases that a reviewer found; each was seen to fail before it was mended."""

from __future__ import annotations

import threading

import pytest

from broker import lifecycle, sweeps
from broker.engines.postgres.scram import make_verifier, new_password
from broker.errors import BrokerError, Invalid
from broker.grants import leases
from broker.grants.narrowing import Narrowing
from tests.world import World, connect


def test_a_login_asked_for_while_its_grant_ends_does_not_outlive_it(world: World) -> None:
    """G3: the request was open when the end was committed."""
    grant_id = world.approved()
    asked, ended = threading.Event(), threading.Event()

    def end() -> None:
        asked.wait(20)
        with world.as_(world.admin) as tx:
            lifecycle.end_grant_by_click(tx, grant_id, world.broker.queue)
        ended.set()

    other = threading.Thread(target=end)
    other.start()
    with world.as_(world.engineer) as tx:
        verifier = make_verifier(new_password())
        lease_id = leases.ask_live(tx, grant_id, verifier, world.broker.queue)
        asked.set()
        assert not ended.wait(1)  # the end waits for this transaction, and then sees the lease
    other.join(20)
    world.work()
    world.work()
    assert world.find_lease(lease_id).state == "revoked"


def test_a_login_under_a_grant_that_is_over_is_ended_by_the_sweep(world: World) -> None:
    grant_id = world.approved()
    lease_id, _ = world.lease(grant_id)
    world.work()
    assert world.find_lease(lease_id).state == "issued"
    with world.as_(world.admin) as tx:  # as if the end had not seen the lease
        from broker.grants import in_force, requests

        in_force.mark_ended(tx, requests.get_grant(tx, grant_id), "a test")
    sweeps.sweep_ends(world.broker.database, world.broker.queue, 1)
    world.work()
    world.work()
    assert world.find_lease(lease_id).state == "revoked"


def test_narrowing_a_partition_alone_is_refused(world: World) -> None:
    """G2: live access reads it through its root, so it would have been shown all the same."""
    grant_id = world.request()
    world.work()
    for narrowing in (
        Narrowing(tables_out=frozenset({"crm.orders_2024"})),
        Narrowing(columns_masked=frozenset({"crm.orders_2024.reference"})),
    ):
        with pytest.raises(Invalid, match=r"part of crm\.orders"):
            world.approve(grant_id, narrowing)
    world.approve(grant_id, Narrowing(tables_out=frozenset({"crm.orders"})))


def test_a_copy_holds_nothing_of_a_schema_that_was_not_registered(world: World) -> None:
    """Its definitions were in no plan; and our login may not even read its tables."""
    with connect(world.live, world.crm) as dba:
        dba.execute(
            "CREATE SCHEMA hr; CREATE TABLE hr.pay (note text DEFAULT 'unregistered-default');"
            "CREATE FUNCTION hr.f() RETURNS text LANGUAGE sql AS $$SELECT 'unregistered-body'$$"
        )
    grant_id = world.approved()
    snapshot_id = world.order(grant_id)
    world.work()
    snapshot = world.snapshot(snapshot_id)
    assert (snapshot.state, snapshot.stuck_reason) == ("ready", None)
    schemas = world.find_on_server(
        world.test,
        "SELECT nspname FROM pg_namespace WHERE nspname IN ('hr', 'crm')",
        dbname=snapshot.sandbox,
    )
    assert schemas == [("crm",)]


def test_two_admins_can_not_remove_each_other_at_once(world: World) -> None:
    """A tenant without an admin could never decide again."""
    from broker import people
    from tests.world import add_person

    with world.as_(world.operator) as tx:
        second = add_person(tx, "admin", world.tenant)
    removed, go = threading.Event(), threading.Event()
    outcome: list[BrokerError | None] = []

    def remove_first() -> None:
        go.wait(20)
        try:
            with world.as_(second) as tx:
                people.end_membership(tx, world.admin.person_id, world.tenant)  # type: ignore[arg-type]  # the world's admin is a person
        except BrokerError as error:
            outcome.append(error)
        else:
            outcome.append(None)
        removed.set()

    other = threading.Thread(target=remove_first)
    other.start()
    with world.as_(world.admin) as tx:
        assert second.person_id is not None
        people.end_membership(tx, second.person_id, world.tenant)
        go.set()
        assert not removed.wait(1)
    other.join(20)
    assert isinstance(outcome[0], BrokerError)
    with world.as_(world.admin) as tx:
        assert [m.role for m in people.list_members(tx, world.tenant)] == ["admin"]


def test_an_invitation_sets_no_second_password_and_a_change_ends_every_token(world: World) -> None:
    from broker import signin
    from broker.errors import Conflict, NotAuthenticated
    from broker.secret import Secret
    from broker.tx import Actor, system

    times = world.broker.settings.times
    person_id = world.engineer.person_id
    assert person_id is not None
    first, second = Secret("the first password"), Secret("the second password")
    with world.as_(system("tests")) as tx:
        codes = [signin.issue_code(tx, signin.invite(tx, person_id, times)) for _ in range(2)]
    with world.as_(system("tests")) as tx:
        signin.accept_invitation(tx, codes[0], first)
    with pytest.raises(Conflict), world.as_(system("tests")) as tx:
        signin.accept_invitation(tx, codes[1], second)
    with world.as_(world.engineer) as tx:
        _, token = signin.create_token(tx, "mine", 1)
    with world.as_(system("tests")) as tx:
        signed_in = signin.find_token(tx, token)
    assert signed_in is not None
    with world.as_(signed_in.actor) as tx:  # a stolen token can't be made a longer one
        signin.create_token(tx, "longer", 365)
        assert {t.expires_at for t in signin.list_tokens(tx)} == {signed_in.actor.until}
    with pytest.raises(NotAuthenticated), world.as_(world.engineer) as tx:
        signin.change_password(tx, second, first)
    with world.as_(Actor("vendor", "password", person_id)) as tx:
        signin.change_password(tx, first, second)
    with world.as_(system("tests")) as tx:
        assert signin.find_token(tx, token) is None


def test_wrong_passwords_tried_side_by_side_all_count(world: World) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from broker import signin
    from broker.errors import NotAuthenticated, TooMany
    from broker.secret import Secret

    def attempt(_: int) -> type[BrokerError]:
        try:
            signin.check_sign_in(
                world.broker.database, "nobody@x.test", Secret("wrong"), address="192.0.2.7"
            )
        except BrokerError as error:
            return type(error)
        raise AssertionError

    with ThreadPoolExecutor(12) as pool:
        outcomes = list(pool.map(attempt, range(12)))
    assert outcomes.count(NotAuthenticated) == 5
    assert outcomes.count(TooMany) == 7


def test_a_table_named_like_our_key_does_not_block_live_access(world: World) -> None:
    with connect(world.live, world.crm) as dba:
        dba.execute("CREATE TABLE crm.masking_key (id int PRIMARY KEY)")
        dba.execute("ALTER TABLE crm.masking_key OWNER TO crm_app")
        dba.execute("GRANT SELECT ON crm.masking_key TO sab_reader")
    lease_id, password = world.lease(world.approved())
    world.work()
    assert world.find_lease(lease_id).stuck_reason is None
    with world.login(lease_id, password) as session:
        assert session.execute("SELECT count(*) FROM crm_masking_key").fetchone() == (0,)
