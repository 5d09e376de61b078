"""`broker consents`: what stands, giving what was shown, withdrawing, and why."""

from __future__ import annotations

from tests.cli.conftest import Desk


def test_a_consent_is_shown_asked_given_and_withdrawn(desk: Desk) -> None:
    world = desk.world
    admin = desk.terminal("admin", world.admin)
    tenant = world.tenant
    grant_id = world.request(copy_s=0)
    stands = {one["purpose"]: one for one in admin.json("consents", "list", tenant)}
    assert stands["live_access"]["state"] == "live"
    admin.run("consents", "withdraw", tenant, "live_access")
    assert world.grant(grant_id).state == "ended"
    shown = admin.try_("consents", "give", tenant, "live_access", "--language", "fr", stdin="n\n")
    assert shown.exit_code != 0
    assert "vous décidez de ce qu'ils voient" in shown.output
    admin.run("consents", "give", tenant, "live_access", stdin="y\n")
    digest = stands["test_copy"]["digests"]["en"]
    admin.run("consents", "give", tenant, "test_copy", "--shown", digest)
    acts = admin.json("consents", "acts", tenant)
    assert [act["act"] for act in acts[:3]] == ["renewed", "given", "withdrawn"]
    reasons = admin.json("consents", "why", tenant, grant_id)
    assert [one["ground"] for one in reasons] == ["consent", "ending"]
    names = [one["name"] for one in admin.json("consents", "purposes")]
    assert {"live_access", "test_copy", "service_messages"} <= set(names)
    assert admin.try_("consents", "give", tenant, "nothing", stdin="y\n").exit_code == 2
