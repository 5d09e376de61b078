"""`broker platforms`: registered, asked for, a token printed once and ended."""

from __future__ import annotations

from tests.cli.conftest import Desk

AUDIENCE = "https://crm.example/tenants/one"


def test_a_platform_from_registration_to_a_token_and_its_end(desk: Desk) -> None:
    world = desk.world
    operator = desk.terminal("operator", world.operator)
    engineer = desk.terminal("engineer", world.engineer)
    admin = desk.terminal("admin", world.admin)
    named = ("--tenant", world.tenant, "--name", "CRM", "--audience", AUDIENCE)
    platform = operator.json("platforms", "create", *named)
    assert platform["secret"].startswith("brp_")
    (listed,) = engineer.json("platforms", "list", "--tenant", world.tenant)
    assert (listed["id"], listed["audience"]) == (platform["id"], AUDIENCE)
    assert "secret" not in listed
    assert admin.json("platforms", "show", platform["id"]) == listed
    replaced = operator.json("platforms", "replace-secret", platform["id"])
    assert replaced["secret"] != platform["secret"]

    with desk.worker():
        asked = engineer.json(
            *("grants", "request", "--ticket", world.ticket(), "--database", world.database_id),
            *("--reason", "the customer reports wrong totals", "--platform", platform["id"]),
            *("--tokens", "1h", "--wait", "60s"),
        )
        plan = admin.run("grants", "plan", asked["id"])
        assert AUDIENCE in plan
        told = admin.run("grants", "approve", asked["id"], "--tokens", "30m", stdin="y\n")
        assert "You would give: its platform for 30m" in told
        token = engineer.run("platforms", "token", asked["id"]).strip()
    assert token.count(".") == 2
    assert not [line for line in desk.wire.lines if token in line]
    (lease,) = admin.json("leases", "list", "--grant", asked["id"])
    assert (lease["kind"], lease["audience"], lease["role"]) == ("platform", AUDIENCE, None)
    admin.run("leases", "end", lease["id"])
    assert engineer.json("leases", "show", lease["id"])["state"] == "revoking"

    refused = engineer.try_("platforms", "withdraw-keys", "--yes")
    assert refused.exit_code == 4
    operator.run("platforms", "withdraw-keys", "--yes")
    operator.run("platforms", "remove", platform["id"])
    assert admin.json("grants", "show", asked["id"])["state"] == "ended"
    gone = engineer.try_("platforms", "token", asked["id"])
    assert gone.exit_code != 0
    assert "no live grant of yours" in gone.output
