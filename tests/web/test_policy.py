"""How a tenant approves, through the forms: changing it, a second admin, and several approvals."""

from __future__ import annotations

from flask import Flask

from broker.audit.statements import verify_signed
from broker.grants import approval_policy
from broker.grants.statements import sign_due
from broker.tx import system
from tests.stories import pinned
from tests.web.browser import Browser, sign_in
from tests.world import World, add_person


def test_two_admins_change_the_policy_together_and_then_both_must_approve(
    app: Flask, admin: Browser, world: World
) -> None:
    path = f"/tenants/{world.tenant}/policy"
    refused = admin.submit(path, path, approvals="2")
    assert refused.status_code == 422
    assert "make more admins first" in refused.text
    with world.as_(system("tests")) as tx:
        person = add_person(tx, "admin", world.tenant)
    second = sign_in(app, world, person)
    assert admin.submit(path, path, approvals="2", second_person="1").status_code == 303
    assert admin.submit(path, path, approvals="1", live_max_s="3600").status_code == 303
    assert f"{path}/confirm" not in admin.page(path)
    assert second.submit(path, f"{path}/confirm").status_code == 303
    assert admin.submit(path, path, approvals="2").status_code == 303
    assert second.submit(path, f"{path}/confirm").status_code == 303

    grant_id = world.request()
    world.work()
    page = f"/grants/{grant_id}"
    admin.submit(page, f"{page}/approve")
    assert world.grant(grant_id).state == "requested"
    assert "1 did so far" in second.page(page)
    assert f"{page}/approve" not in admin.page(page)
    second.submit(page, f"{page}/approve")
    assert world.grant(grant_id).state == "approved"


def test_an_auditor_reads_the_policy_and_can_not_change_it(app: Flask, world: World) -> None:
    with world.as_(system("tests")) as tx:
        person = add_person(tx, "auditor", world.tenant)
    auditor = sign_in(app, world, person)
    path = f"/tenants/{world.tenant}/policy"
    assert "How many must approve" in auditor.page(path)
    assert "Change the policy" not in auditor.page(path)
    assert auditor.act(path, approvals="1").status_code == 403


def test_a_decisions_signed_statement_is_fetched_from_its_page(
    admin: Browser, world: World
) -> None:
    grant_id = world.approved()
    assert "signed statement" not in admin.page(f"/grants/{grant_id}")
    sign_due(world.broker.database, world.ports.keys)
    page = admin.page(f"/grants/{grant_id}")
    start = page.index("/decisions/dec_")
    answer = admin.get(page[start : page.index('"', start)])
    assert verify_signed(answer.data, pinned(world)).ok


def test_reminders_and_an_escalation_are_chosen_on_the_form(admin: Browser, world: World) -> None:
    path = f"/tenants/{world.tenant}/policy"
    person = world.admin.person_id or ""
    chosen = {"reminders": ["50", "90"], "escalate_after_s": "7200", "escalate_to": person}
    assert admin.submit(path, path, **chosen).status_code == 303
    with world.as_(world.admin) as tx:
        _, policy = approval_policy.find_in_force(tx, world.tenant)
    assert (policy.reminders, policy.escalate_to) == ((50, 90), (person,))
    assert policy.escalate_after_s == 7200
    form = admin.form(path, path)
    assert (form.names("reminders"), form.names("escalate_to")) == (["50", "90"], [person])
    assert admin.submit(path, path, reminders=[], escalate_to=[]).status_code == 303
    with world.as_(world.admin) as tx:
        _, policy = approval_policy.find_in_force(tx, world.tenant)
    assert (policy.reminders, policy.escalate_to) == ((), ())
