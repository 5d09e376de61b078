"""A legal hold on the page of its copy: asked by the privacy officer, decided by the customer."""

from __future__ import annotations

from flask import Flask

from broker.tx import system
from tests.web.browser import Browser, sign_in
from tests.world import World, add_person


def test_a_hold_is_asked_agreed_and_lifted_through_the_forms(
    app: Flask, admin: Browser, world: World
) -> None:
    with world.as_(system("tests")) as tx:
        person = add_person(tx, "privacy_officer", None)
    officer = sign_in(app, world, person)
    snapshot_id = world.order(world.approved())
    page = f"/copies/{snapshot_id}"
    assert "Legal hold" not in admin.page(page)
    refused = officer.submit(page, f"{page}/holds", reason="short", days="30")
    assert refused.status_code == 422
    assert "10 to 2,000 characters" in refused.text
    reason = "a dispute about invoices needs this copy"
    assert officer.submit(page, f"{page}/holds", reason=reason, days="30").status_code == 303
    shown = admin.page(page)
    assert reason in shown
    start = shown.index("/holds/hld_")
    hold = shown[start : start + len("/holds/hld_") + 26]
    assert f"{hold}/agree" not in officer.page(page)
    assert admin.submit(page, f"{hold}/agree").status_code == 303
    world.close_ticket(world.grant(world.snapshot(snapshot_id).grant_id).ticket_id)
    world.work()
    assert "kept sealed under a legal hold" in admin.page(page)
    assert "1 copy is kept sealed under a legal hold" in officer.page("/late")
    assert admin.submit(page, f"{hold}/lift").status_code == 303
    world.work()
    assert world.snapshot(snapshot_id).state == "destroyed"
