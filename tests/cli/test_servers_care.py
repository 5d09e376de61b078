"""What an operator does for registered servers, and about a quarantine, from the command line."""

from __future__ import annotations

from datetime import timedelta

from broker import watching
from broker.engines.postgres.scram import make_verifier, new_password
from tests.cli.conftest import Desk
from tests.stories import control_superuser, live_database, skip
from tests.web.browser import sign_in
from tests.world import connect


def test_a_registered_server_and_a_quarantine_are_taken_care_of(desk: Desk) -> None:
    """One world for all of it: a short look at each command, and at its refusal."""
    world = desk.world
    database = world.database_id
    operator = desk.terminal("operator", world.operator)
    engineer = desk.terminal("engineer", world.engineer)

    before = live_database(world).password
    assert operator.json("databases", "rotate", database)["id"] == database
    world.work()
    assert live_database(world).password != before
    assert engineer.try_("databases", "rotate", database).exit_code == 4

    given = new_password()
    with connect(world.live) as connection:
        login, verifier = live_database(world).user, make_verifier(given)
        connection.execute(f"ALTER ROLE {login} PASSWORD '{verifier}'")
    operator.run("databases", "password", database, "--password-stdin", stdin=given.reveal())
    world.work()
    assert live_database(world).password == given
    assert not any(given.reveal().encode() in body for body in desk.wire.bodies)

    confirm = ("databases", "confirm", database, "--cluster", "7000000000000000001")
    refused = operator.try_(*confirm)
    assert refused.exit_code == 6
    assert "waits for your word" in refused.stderr
    with control_superuser(world) as connection:
        connection.execute("UPDATE tenant_database SET found_cluster = '7000000000000000001'")
    assert operator.json(*confirm)["id"] == database

    found = operator.json("databases", "standbys", database, "--standby", "standby.example:5432")
    assert found["standbys"] == ["standby.example:5432"]
    page = sign_in(desk.app, world, world.admin).page(f"/databases/{database}")
    assert "<code>standby.example:5432</code>" in page
    wrong = operator.try_("databases", "standbys", database, "--standby", "standby.example")
    assert wrong.exit_code == 2
    assert "HOST:PORT" in wrong.stderr
    assert operator.json("databases", "standbys", database)["standbys"] == []

    assert "CREATE OR REPLACE FUNCTION" in desk.stranger().run("databases", "dead-man-sql")

    shown = operator.try_("quarantine", "show")
    assert (shown.exit_code, shown.stdout) == (0, "There is no quarantine.\n")
    assert watching.is_sound(world.ports, world.broker.settings)
    skip(world, timedelta(hours=-2))
    assert not watching.is_sound(world.ports, world.broker.settings)
    skip(world, timedelta(0))
    shown = operator.try_("quarantine", "show")
    assert shown.exit_code == 1
    assert "clock went back" in shown.stdout
    held = operator.try_("quarantine", "show", "-o", "json")
    assert held.exit_code == 1
    assert operator.try_("quarantine", "lift", "qrt_none", "--grants", "keep").exit_code != 0
    quarantine_id = shown.stdout.split("qrt_")[1].split()[0]
    assert engineer.try_("quarantine", "lift", f"qrt_{quarantine_id}", "--grants", "keep").exit_code
    operator.run("quarantine", "lift", f"qrt_{quarantine_id}", "--grants", "keep")
    assert operator.try_("quarantine", "show").exit_code == 0
