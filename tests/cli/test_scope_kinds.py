"""`broker grants request --kind` and `--raw`, `approve --rows`, and the plan that shows them."""

from __future__ import annotations

from tests.cli.conftest import Desk


def test_raw_structure_and_write_from_the_command_line(desk: Desk) -> None:
    world = desk.world
    engineer = desk.terminal("engineer", world.engineer)
    admin = desk.terminal("admin", world.admin)
    ask = (
        *("grants", "request", "--ticket", world.ticket(), "--database", world.database_id),
        *("--reason", "the mail address of one contact is spelt wrong", "--live", "1h"),
    )
    made = engineer.json(*ask, "--raw", "crm.contacts.email")
    assert made["asked_kind"] == "raw"
    structure = engineer.json(*ask, "--kind", "structure")
    world.work()
    shown = admin.try_("grants", "plan", made["id"], "-o", "table").output
    assert [line for line in shown.splitlines() if "email" in line and "RAW" in line]
    assert "Structure alone" not in shown
    alone = admin.try_("grants", "plan", structure["id"], "-o", "table").output
    assert "Structure alone: no row is read." in alone
    assert "KEPT" not in alone
    refused = engineer.try_(*ask, "--kind", "write")
    assert refused.exit_code != 0
    assert "ask for a copy and change that" in " ".join(refused.output.split())


def test_rows_are_restricted_from_the_command_line(desk: Desk) -> None:
    world = desk.world
    admin = desk.terminal("admin", world.admin)
    grant = world.request()
    world.work()
    approve = ("grants", "approve", grant, "--rows")
    assert "last N days" in admin.try_(*approve, "crm.companies.id > 5").output
    told = admin.run(*approve, "crm.companies.sector = food, none", stdin="y\n")
    assert "of crm.companies only sector = food or none" in told
    shown = admin.try_("grants", "plan", grant, "--which", "given", "-o", "table").output
    assert "only sector = food or none" in shown
