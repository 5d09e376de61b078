"""G9. No state changes without its audit entry, in the same transaction.

That nothing but `states` writes a state is read from the code in tests/test_architecture.py. Here
the second barrier: the control database refuses it to everybody, and entries can't be changed.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import psycopg
import pytest
import sqlalchemy as sa

from broker import states, trail
from broker.grants import requests
from broker.grants.states import END
from broker.ids import new_id
from broker.tx import Tx, system
from tests.stories import control_superuser, ready_copy
from tests.world import ControlTemplate, World, connect

MOVES = {"access_grant": "ended", "lease": "revoked", "snapshot": "condemned"}
FIRST = {"access_grant": "requested", "lease": "pending", "snapshot": "ordered"}


def states_of(world: World) -> list[tuple[str, ...]]:
    with control_superuser(world) as connection:
        return [
            row
            for table in MOVES
            for row in connection.execute(f"SELECT id, state FROM {table} ORDER BY id").fetchall()
        ]


def test_every_table_with_a_state_has_the_barrier(control_template: ControlTemplate) -> None:
    """Also one that is added tomorrow: a trigger that runs before its commit."""
    with_state = (
        "SELECT table_name FROM information_schema.columns JOIN information_schema.tables "
        "USING (table_schema, table_name) WHERE column_name = 'state' "
        "AND table_schema = 'public' AND table_type = 'BASE TABLE' "
        "AND table_name NOT LIKE 'procrastinate%'"
    )
    guarded = (
        "SELECT tgrelid::regclass::text FROM pg_trigger "
        "WHERE tgfoid = 'check_state_has_entry'::regproc AND tgenabled = 'O' "
        "AND tgtype & 4 > 0 AND tgtype & 16 > 0"  # inserts and updates
    )
    with control_template.clone() as dbname, connect(control_template.server, dbname) as one:
        tables = {row[0] for row in one.execute(with_state)}
        assert len(tables) >= 8
        assert tables - {row[0] for row in one.execute(guarded)} == set()


@pytest.mark.parametrize("table", MOVES)
def test_a_state_without_an_entry_of_its_transaction_is_refused(world: World, table: str) -> None:
    grant_id, _ = ready_copy(world)
    world.lease(grant_id)
    world.work()
    before = states_of(world)
    fresh = json.dumps({"id": "new", "role_name": "new", "state": FIRST[table]})
    statements = [
        f"UPDATE {table} SET state = '{MOVES[table]}'",
        f"INSERT INTO {table} SELECT (jsonb_populate_record(t, '{fresh}')).* FROM {table} t",
    ]
    for statement in statements:
        with (
            control_superuser(world) as connection,
            pytest.raises(psycopg.errors.RaiseException, match="without an audit entry"),
        ):
            connection.execute(statement)
    assert states_of(world) == before


def test_an_entry_of_an_earlier_transaction_or_of_another_thing_does_not_serve(
    world: World,
) -> None:
    grant_id = world.approved()
    with world.as_(system("tests")) as tx:
        trail.record(tx, world.tenant, "grant.ended", grant_id)

    def end_with_an_entry_about_another() -> None:
        with world.as_(system("tests")) as tx:
            trail.record(tx, world.tenant, "grant.ended", new_id("grt"))
            tx.session.execute(sa.text("UPDATE access_grant SET state = 'ended'"))

    with pytest.raises(sa.exc.DBAPIError, match="without an audit entry"):
        end_with_an_entry_about_another()
    assert world.grant(grant_id).state == "approved"


def test_a_transaction_that_fails_leaves_neither_state_nor_entry(world: World) -> None:
    grant_id = world.approved()
    entries = world.entries()

    def end_and_fail() -> None:
        with world.as_(system("tests")) as tx:
            states.advance(tx, requests.get_grant(tx, grant_id), END)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        end_and_fail()
    assert world.grant(grant_id).state == "approved"
    assert world.entries() == entries


def test_each_move_of_a_whole_story_has_its_entry(world: World) -> None:
    grant_id, snapshot_id = ready_copy(world)
    lease_id, _ = world.lease(grant_id)
    world.work()
    world.close_ticket(world.grant(grant_id).ticket_id)
    world.work()
    told = {(entry["subject"], entry["kind"]) for entry in world.entries()}
    assert told >= {
        *((grant_id, f"grant.{word}") for word in ("requested", "approved", "ended")),
        *((lease_id, f"lease.{word}") for word in ("asked", "issued", "revoking", "revoked")),
        *(
            (snapshot_id, f"snapshot.{word}")
            for word in ("ordered", "copying", "ready", "condemned", "destroyed")
        ),
    }


CHANGES: dict[str, Callable[[Tx], object]] = {
    "bytes": lambda tx: tx.session.execute(sa.text("UPDATE audit_entry SET entry = 'x'")),
    "removal": lambda tx: tx.session.execute(sa.text("DELETE FROM audit_entry")),
    "decision": lambda tx: tx.session.execute(sa.text("UPDATE decision SET verdict = 'refused'")),
    "opening": lambda tx: tx.session.execute(sa.text("UPDATE audit_opening SET value = '1'")),
    "checkpoint": lambda tx: tx.session.execute(sa.text("UPDATE audit_checkpoint SET note = ''")),
    "look": lambda tx: tx.session.execute(sa.text("UPDATE look SET found = false")),
    "inventory": lambda tx: tx.session.execute(sa.text("DELETE FROM inventory_item")),
}


@pytest.mark.parametrize("what", CHANGES)
def test_the_applications_own_role_may_not_change_what_was_recorded(
    world: World, what: str
) -> None:
    world.approved()
    with (
        pytest.raises(sa.exc.ProgrammingError, match="permission denied"),
        world.as_(system("tests")) as tx,
    ):
        CHANGES[what](tx)
