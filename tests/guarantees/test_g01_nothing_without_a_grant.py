"""G1. No row, value or statistic of a tenant is read without a live grant of that tenant.

Before approval only the catalogue is read, and literals in it are shown to the tenant alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from broker.engines.postgres.scram import make_verifier, new_password
from broker.errors import Conflict, Denied
from broker.grants import leases
from broker.grants.queries import get_plan_view
from broker.grants.requests import GrantRefused
from broker.snapshots import ordering
from broker.tx import Actor
from tests.world import World, connect

STATEMENT = re.compile(r"(?:statement|execute [^:]*): (.*)")
# `pg_statistic_ext` is a definition; the values are in the others.
STATISTICS = re.compile(r"pg_statistic\b|pg_stats|pg_statistic_ext_data", re.IGNORECASE)


@contextmanager
def logged(world: World) -> Iterator[list[str]]:
    """Every statement that reaches the tenant's database, as its own server logs it."""
    with connect(world.live) as connection:
        connection.execute(f"ALTER DATABASE {world.crm} SET log_statement = 'all'")
    start = world.live.log.stat().st_size
    found: list[str] = []
    yield found
    with world.live.log.open() as log:
        log.seek(start)
        for line in log:
            if match := STATEMENT.search(line):
                found.append(match.group(1))
            elif line.startswith("\t") and found:
                found[-1] += line


def list_tables(world: World) -> list[str]:
    with connect(world.live, world.crm) as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'crm'")
        return [name for (name,) in rows]


def name_tables(world: World, statements: list[str]) -> set[str]:
    """The tenant's tables that are named anywhere in the statements."""
    text = "\n".join(statements)
    return {name for name in list_tables(world) if re.search(rf"\b{name}\b", text)}


def test_before_approval_only_the_catalogue_is_read_and_every_attempt_fails(world: World) -> None:
    verifier = make_verifier(new_password())
    with logged(world) as before:
        grant_id = world.request()
        world.work()
        with pytest.raises(GrantRefused, match="not approved yet"), world.as_(world.engineer) as tx:
            leases.ask_live(tx, grant_id, verifier, world.broker.queue)
        with pytest.raises(GrantRefused, match="not approved yet"), world.as_(world.engineer) as tx:
            ordering.order(tx, grant_id, None, world.broker.queue)
        world.work()
    assert any("pg_class" in statement for statement in before)
    assert name_tables(world, before) == set()
    assert [s for s in before if STATISTICS.search(s)] == []
    assert "COPY" not in {statement.split()[0].upper() for statement in before}
    with connect(world.live) as connection:
        roles = connection.execute("SELECT FROM pg_roles WHERE rolname ~ '^sab_[ls]_'").fetchall()
    assert roles == []

    with logged(world) as after:  # the same look does see what a grant lets through
        world.approve(grant_id)
        lease_id, password = world.lease(grant_id)
        world.work()
        with world.login(lease_id, password) as session:
            session.execute("SELECT * FROM contacts LIMIT 1")
    assert "contacts" in name_tables(world, after)


def test_a_refused_or_ended_grant_gives_nothing(world: World) -> None:
    from broker.grants import deciding

    refused, ended = world.request(), world.approved()
    world.work()
    with world.as_(world.admin) as tx:
        deciding.refuse(tx, refused, "not now, please")
    with world.as_(world.admin) as tx:
        from broker import lifecycle

        lifecycle.end_grant_by_click(tx, ended, world.broker.queue)
    for grant_id in (refused, ended):
        with pytest.raises(GrantRefused, match="make a new request"):
            world.lease(grant_id)
        with pytest.raises(GrantRefused, match="make a new request"):
            world.order(grant_id)


def test_a_grant_serves_only_the_person_who_asked(world: World) -> None:
    from tests.world import add_person

    grant_id = world.approved()
    with world.as_(world.operator) as tx:
        other = add_person(tx, "engineer", None)
    for actor in (other, world.operator, world.admin):
        with pytest.raises(Denied), world.as_(actor) as tx:
            leases.ask_live(tx, grant_id, make_verifier(new_password()), world.broker.queue)
        with pytest.raises(Denied), world.as_(actor) as tx:
            ordering.order(tx, grant_id, None, world.broker.queue)


def test_literals_are_shown_to_the_tenant_alone_and_only_while_the_request_is_open(
    world: World,
) -> None:
    with connect(world.live, world.crm) as connection:
        connection.execute("ALTER TABLE crm.contacts ALTER COLUMN notes SET DEFAULT 'a literal'")
    grant_id = world.request()
    world.work()

    def seen_by(actor: Actor) -> str:
        with world.as_(actor) as tx:
            view = get_plan_view(tx, grant_id)
        assert "a literal" not in str(view.plan.document())
        return " ".join(literal.text for literal in view.literals)

    assert "a literal" in seen_by(world.admin)
    assert seen_by(world.engineer) == ""
    world.approve(grant_id)
    with world.as_(world.admin) as tx:
        from broker import lifecycle

        lifecycle.end_grant_by_click(tx, grant_id, world.broker.queue)
    assert seen_by(world.admin) == ""


def test_a_plan_is_made_without_reading_and_its_failure_reads_nothing_either(world: World) -> None:
    """With no right to read rows at all, the plan is the same: it rests on the catalogue."""
    first = world.request()
    world.work()
    with connect(world.live, world.crm) as connection:
        connection.execute("REVOKE SELECT ON ALL TABLES IN SCHEMA crm FROM sab_reader")
    second = world.request()
    world.work()
    assert world.grant(first).asked_digest == world.grant(second).asked_digest is not None
    world.approve(second)
    snapshot_id = world.order(second)
    world.work()
    snapshot = world.snapshot(snapshot_id)
    assert (snapshot.state, snapshot.attempts) == ("copying", 1)
    with pytest.raises(Conflict), world.as_(world.engineer) as tx:
        ordering.ask_sandbox_lease(
            tx, snapshot_id, make_verifier(new_password()), world.broker.queue
        )
