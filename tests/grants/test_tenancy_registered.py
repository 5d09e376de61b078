"""Parts of a database as they are registered, and what a tenant's people read of theirs (G12)."""

from __future__ import annotations

import json
from dataclasses import asdict

import psycopg
import pytest
import sqlalchemy as sa

from broker.errors import Conflict, Invalid
from broker.grants import preflights, queries
from broker.tenancy import from_document
from broker.tx import system
from tests.shared_database import (
    OTHERS,
    OWN,
    make_database_of_schemas,
    register_part,
    rows_of,
    share,
)
from tests.world import World, connect


def read_plan(world: World, grant_id: str) -> queries.PlanView:
    with world.as_(world.admin) as tx:
        return queries.get_plan_view(tx, grant_id)


def test_a_plan_of_rows_says_whose_they_are_and_names_nothing_of_others(own: World) -> None:
    grant_id = own.request()
    own.work()
    view = read_plan(own, grant_id)
    shown = {table.full_name: table for table in view.plan.tables}
    assert not OTHERS.search(json.dumps(view.plan.document()))
    assert not view.literals
    assert not [name for name in shown if name.startswith("shop.events_")]
    assert {table.estimated_rows + table.size_bytes for table in shown.values()} == {0}
    assert shown["shop.customers"].whose == "rows with this customer's tenant"
    assert shown["shop.order_lines"].whose == (
        "rows that belong to this customer's rows of shop.orders by order_id"
    )
    assert shown["shop.plans"].whose == "the same rows for every customer"
    refused = [table.full_name for table in view.plan.tables if not table.rows]
    assert refused == ["shop.messages"]
    assert "no tenant key" in shown["shop.messages"].note


def test_a_schema_of_one_tenant_tells_nothing_of_the_others(anyone: World) -> None:
    world = anyone
    dbname = make_database_of_schemas(world.live)
    login = share(world, dbname, ["own_part", "zq009_part"])
    own = register_part(world, dbname, login, {"form": "schema"}, ["own_part"])
    register_part(world, dbname, login, {"form": "schema"}, ["zq009_part"])
    grant_id = own.approved()
    own.work()
    view = read_plan(own, grant_id)
    assert not OTHERS.search(json.dumps([view.plan.document(), list(map(asdict, view.literals))]))
    assert [table.full_name for table in view.plan.tables if table.rows] == ["own_part.people"]
    lease_id, password = own.lease(grant_id)
    own.work()
    with own.login(lease_id, password) as session:
        views = session.execute(
            "SELECT table_schema ~ '^sab_s_', table_name FROM information_schema.tables"
            " WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        assert views == [(True, "people")]
        assert session.execute("SELECT id, reference FROM people").fetchall() == [
            (1, "own-mark-person")
        ]
        for table in ("zq009_part.people", "own_part.people", "own_part.split"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute(f"SELECT * FROM {table}")
    snapshot_id = own.order(grant_id)
    own.work()
    snapshot = own.snapshot(snapshot_id)
    assert "lead into schemas that are not registered" in (snapshot.stuck_reason or "")


def test_two_tenants_never_have_the_same_part(anyone: World, dbname: str) -> None:
    world = anyone
    login = share(world, dbname, ["shop"])
    register_part(world, dbname, login, rows_of("a key"), ["shop"])
    register_part(world, dbname, login, rows_of("another"), ["shop"])
    for part in (rows_of("a key"), {"form": "schema"}, {"form": "database"}):
        with pytest.raises(Conflict, match="another tenant"):
            register_part(world, dbname, login, part, ["shop"])


@pytest.mark.parametrize(
    ("part", "field"),
    [
        ({"form": "world"}, "form"),
        ({"form": "schema", "value": "x"}, "value"),
        (rows_of(OWN) | {"type": "integer"}, "value"),
        (rows_of("0042") | {"type": "integer"}, "value"),
        (rows_of(OWN) | {"type": "uuid"}, "value"),
        (rows_of(""), "value"),
        (rows_of(OWN) | {"columns": [], "tables": []}, "columns"),
        (rows_of(OWN) | {"shared": ["shop.accounts"]}, "shared"),
        (rows_of(OWN) | {"shared": ["plans"]}, "tables"),
    ],
)
def test_a_part_that_says_nothing_is_refused_by_field(part: dict, field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        from_document(part)
    assert field in refusal.value.facts["fields"]


def test_what_a_database_is_registered_as_never_changes(anyone: World) -> None:
    """What was approved rests on it: a row that is edited in the control database is refused."""
    with anyone.as_(system("tests")) as tx, pytest.raises(Exception, match="by its registration"):
        tx.session.execute(sa.text('UPDATE tenant_database SET tenancy = \'{"form": "schema"}\''))


def test_a_tenant_reads_of_a_shared_database_no_name_of_anothers(anyone: World) -> None:
    world = anyone
    dbname = make_database_of_schemas(world.live)
    with connect(world.live, dbname) as connection:
        connection.execute("GRANT SELECT ON zq009_part.people TO PUBLIC")
        connection.execute(
            "CREATE FUNCTION public.zq009() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'"
        )
    login = share(world, dbname, ["own_part"])
    own = register_part(world, dbname, login, {"form": "schema"}, ["own_part"])
    with own.as_(own.operator) as tx:
        preflights.ask_by_click(tx, own.database_id, own.broker.queue)
    own.work()

    def read(actor: object) -> str:
        with own.as_(actor) as tx:  # type: ignore[arg-type]
            return str(preflights.get_view(tx, own.database_id).findings)

    assert OTHERS.search(read(own.operator))
    assert not OTHERS.search(read(own.admin))
    assert "'definer-function-public', severity='fatal'" in read(own.operator)
    lease_id, _ = own.lease(own.approved())
    own.work()
    problem = own.find_lease(lease_id).stuck_reason or ""
    assert problem
    assert not OTHERS.search(problem)
