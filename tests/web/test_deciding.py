"""Reading a request and deciding on it: through the forms, as an admin does."""

from __future__ import annotations

import pytest
from flask import Flask

from broker.grants import shown_plans
from broker.tx import Actor, system
from tests.web.browser import Browser, sign_in
from tests.web.conftest import ask
from tests.world import World, add_person


@pytest.fixture
def second_admin(world: World) -> Actor:
    with world.as_(system("tests")) as tx:
        return add_person(tx, "admin", world.tenant)


def test_an_admin_sees_who_asks_for_what_and_why(
    admin: Browser, world: World, waiting: str
) -> None:
    page = admin.page(f"/grants/{waiting}")
    grant = world.grant(waiting)
    assert grant.reason in page
    for word in ("crm.contacts", "structure only", "masked", "kept", "Values that stand in"):
        assert word in page
    assert grant.asked_digest in page


def test_approving_with_a_narrowing_gives_less_and_shows_both(
    admin: Browser, world: World, waiting: str
) -> None:
    path = f"/grants/{waiting}"
    answer = admin.submit(
        path, f"{path}/approve", out="crm.notes", mask="crm.companies.sector", live_s="1800"
    )
    assert answer.status_code == 303
    grant = world.grant(waiting)
    assert (grant.state, grant.given_live_s, grant.given_copy_s) == ("approved", 1800, 86400)
    with world.as_(world.admin) as tx:
        given = shown_plans.get_plan(tx, waiting, grant.given_digest)
    notes, companies = given.find_table("crm.notes"), given.find_table("crm.companies")
    assert notes is not None
    assert not notes.rows
    assert companies is not None
    assert companies.fates()["sector"].mask != "keep"
    page = admin.page(path)
    assert "30 min" in page
    assert "crm.notes" in page
    assert "crm.companies.sector" in page


def test_rows_are_restricted_by_what_is_written_line_by_line(
    admin: Browser, engineer: Browser, world: World, waiting: str
) -> None:
    path = f"/grants/{waiting}"
    form = admin.form(path, f"{path}/approve")
    fields = [(name, value) for name, value in form.fields if name != "rows_only"]
    wrong = admin.post(
        f"{path}/approve", [*fields, ("rows_only", "crm.companies.name = X")], referer=path
    )
    assert wrong.status_code == 422
    assert "is masked" in wrong.text
    shown = admin.get(f"{path}?rows_only=crm.companies.sector+%3D+food").text
    assert ">crm.companies.sector = food</textarea>" in shown
    admin.submit(path, f"{path}/approve", rows_only="crm.companies.sector = food, energy")
    for page in (admin.page(path), engineer.page(path)):
        assert "crm.companies: sector = energy or food" in page
        assert "Only rows with sector = energy or food" in page


def test_a_filter_hides_tables_and_loses_no_tick(
    admin: Browser, world: World, waiting: str
) -> None:
    path = f"/grants/{waiting}"
    form = admin.form(path, f"{path}/approve")
    untouched = [(name, value) for name, value in form.fields if name != "q"]
    ticked = [("out", "crm.notes"), ("mask", "crm.companies.sector")]
    filtered = admin.post(path, [*untouched, *ticked, ("q", "orders")])
    assert filtered.status_code == 200
    assert 'value="crm.notes"' in filtered.text
    assert "stays ticked" in filtered.text
    assert world.grant(waiting).state == "requested"
    shown = f"{path}?q=orders&out=crm.notes&mask=crm.companies.sector"
    assert admin.submit(shown, f"{path}/approve").status_code == 303
    assert "crm.notes, " not in (page := admin.page(path))
    assert "<td>crm.notes</td>" in page
    assert "<td>crm.companies.sector</td>" in page


def test_a_window_longer_than_asked_is_refused(admin: Browser, world: World, waiting: str) -> None:
    path = f"/grants/{waiting}"
    answer = admin.submit(path, f"{path}/approve", live_s="7201")
    assert answer.status_code == 422
    assert "only shorten" in answer.text
    assert world.grant(waiting).state == "requested"


def test_what_was_not_shown_can_not_be_approved(admin: Browser, world: World, waiting: str) -> None:
    path = f"/grants/{waiting}"
    answer = admin.submit(path, f"{path}/approve", digest="0" * 64)
    assert answer.status_code == 409
    assert "Back to the page as it is now" in answer.text
    assert world.grant(waiting).state == "requested"


def test_a_refusal_needs_a_reason(admin: Browser, world: World, waiting: str) -> None:
    path = f"/grants/{waiting}"
    assert admin.submit(path, f"{path}/refuse", note=" ").status_code == 422
    assert world.grant(waiting).state == "requested"
    assert admin.submit(path, f"{path}/refuse", note="not for this ticket").status_code == 303
    assert world.grant(waiting).state == "refused"
    assert "not for this ticket" in admin.page(path)


def test_the_second_of_two_admins_sees_who_decided_and_when(
    app: Flask, admin: Browser, world: World, waiting: str, second_admin: Actor
) -> None:
    second = sign_in(app, world, second_admin)
    path = f"/grants/{waiting}"
    form = second.form(path, f"{path}/approve")
    admin.submit(path, f"{path}/refuse", note="not for this ticket")
    late = second.post(f"{path}/approve", form.fields, referer=path)
    assert late.status_code == 409
    decided = world.grant(waiting).state_at
    assert "Ada Admin" in late.text
    assert f"{decided:%Y-%m-%d %H:%M:%S} UTC" in late.text
    assert world.grant(waiting).state == "refused"


def test_only_an_admin_decides(
    app: Flask, engineer: Browser, operator: Browser, world: World, waiting: str
) -> None:
    with world.as_(system("tests")) as tx:
        person = add_person(tx, "auditor", world.tenant)
    auditor = sign_in(app, world, person)
    path = f"/grants/{waiting}"
    digest = world.grant(waiting).asked_digest or ""
    for browser in (auditor, engineer, operator):
        assert f"{path}/approve" not in browser.page(path)
        assert browser.act(f"{path}/approve", digest=digest).status_code == 403
        assert browser.act(f"{path}/refuse", note="no, not now").status_code == 403
    assert world.grant(waiting).state == "requested"


def test_values_in_definitions_are_shown_to_the_tenant_alone(
    admin: Browser, engineer: Browser, operator: Browser, waiting: str
) -> None:
    path, words = f"/grants/{waiting}", "Values that stand in definitions"
    assert words in admin.page(path)
    assert words not in engineer.page(path)
    assert "crm.contacts" not in operator.page(path)


def test_end_now_ends_a_grant_with_its_logins_and_copies(admin: Browser, world: World) -> None:
    grant_id = world.approved()
    snapshot_id = world.order(grant_id)
    lease_id, _ = world.lease(grant_id)
    world.work()
    assert admin.submit("/", f"/grants/{grant_id}/end").status_code == 303
    world.work()
    assert world.grant(grant_id).state == "ended"
    assert world.find_lease(lease_id).state == "revoked"
    assert world.snapshot(snapshot_id).state == "destroyed"
    again = admin.act(f"/grants/{grant_id}/end")
    assert again.status_code == 409


def test_one_login_or_one_copy_can_be_ended_alone(admin: Browser, world: World) -> None:
    grant_id = world.approved()
    snapshot_id = world.order(grant_id)
    lease_id, _ = world.lease(grant_id)
    world.work()
    assert admin.submit("/", f"/leases/{lease_id}/end").status_code == 303
    assert admin.submit("/copies", f"/copies/{snapshot_id}/destroy").status_code == 303
    world.work()
    assert world.find_lease(lease_id).state == "revoked"
    assert world.snapshot(snapshot_id).state == "destroyed"
    assert world.grant(grant_id).state == "approved"


def test_everything_ends_after_one_question(admin: Browser, world: World, waiting: str) -> None:
    open_ = world.approved()
    path = f"/tenants/{world.tenant}/end-everything"
    assert path in admin.page("/")
    assert "can be taken back" in admin.page(path)
    assert world.grant(open_).state == "approved"
    assert admin.submit(path, path).status_code == 303
    assert {world.grant(waiting).state, world.grant(open_).state} == {"ended"}


@pytest.mark.long
def test_who_decides_sees_what_is_more_than_was_given_last(
    admin: Browser, world: World, waiting: str
) -> None:
    path = f"/grants/{waiting}"
    assert "Compared with what was last given" not in admin.page(path)
    assert admin.submit(path, f"{path}/approve", out="crm.notes").status_code == 303
    again = admin.page(f"/grants/{ask(world)}")
    told = again[again.index("Compared with what was last given") :]
    assert f'href="{path}"' in told
    assert 'Tables with rows that had none: <span class="id">crm.notes</span>' in told
