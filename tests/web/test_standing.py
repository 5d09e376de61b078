"""Approving in advance, through the forms: two admins give, a request is answered, one ends it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from flask import Flask

from broker.grants import approval_policy
from broker.grants.approval_policy import ApprovalPolicy
from broker.tx import system
from tests.web.browser import Browser, sign_in
from tests.world import World, add_person


def test_two_admins_approve_in_advance_and_one_takes_it_back(
    app: Flask, admin: Browser, engineer: Browser, world: World, waiting: str
) -> None:
    with world.as_(system("tests")) as tx:
        person = add_person(tx, "admin", world.tenant)
    with world.as_(world.admin) as tx:
        approval_policy.propose(tx, world.tenant, ApprovalPolicy(approvals=2))
    second = sign_in(app, world, person)
    form = f"/grants/{waiting}/standing"
    assert form in admin.page(f"/grants/{waiting}")
    assert form not in engineer.page(f"/grants/{waiting}")
    refused = admin.submit(form, form, severities="", ends_at="2031-01-01T00:00")
    assert refused.status_code == 422
    assert "name severities or categories" in refused.text
    assert "184 days" in refused.text
    soon = f"{datetime.now(UTC) + timedelta(days=20):%Y-%m-%dT%H:%M}"
    sent = admin.submit(form, form, severities="1, Urgent", ends_at=soon, out=["crm.notes"])
    assert sent.status_code == 303
    page = sent.headers["Location"]
    assert f"{page}/agree" not in admin.page(page)
    assert "crm.notes" not in second.page(page)
    assert second.submit(page, f"{page}/agree").status_code == 303
    assert "severity 1 or urgent" in admin.page("/standing-approvals")

    grant_id = world.request(world.ticket(severity="URGENT".lower()), live_s=3600, copy_s=0)
    world.work()
    assert world.grant(grant_id).state == "approved"
    assert "by a standing approval" in admin.page(f"/grants/{grant_id}")
    assert "by a standing approval of the customer" in engineer.page(f"/grants/{grant_id}")
    assert "used 1 time" in second.page("/standing-approvals")
    assert second.submit(page, f"{page}/end").status_code == 303
    assert world.grant(grant_id).end_reason == "the standing approval was withdrawn"
    assert "End this standing approval" not in admin.page(page)
