"""Break-glass through the forms: allowed, asked, opened by two leads, seen, ended, reviewed."""

from __future__ import annotations

from flask import Flask

from tests.grants.glass_breaking import leads, review_of
from tests.web.browser import Browser, sign_in
from tests.world import REASON, World


def test_the_customer_allows_it_two_leads_open_it_and_the_customer_closes_the_review(
    app: Flask, admin: Browser, engineer: Browser, world: World
) -> None:
    form = f"/grants/new/{world.ticket()}"
    assert "Two leads decide" not in engineer.page(form)
    policy = f"/tenants/{world.tenant}/policy"
    assert (
        admin.submit(policy, policy, break_glass="1", break_glass_max_s="1800").status_code == 303
    )
    assert "for 30 min at most" in admin.page(policy)
    wish = {"database_id": world.database_id, "category": "incident", "reason": REASON}
    wish |= {"copy_s": "0", "break_glass": "1"}
    refused = engineer.submit(form, form, **wish, live_s="14400")
    assert refused.status_code == 422
    assert "1800 seconds" in refused.text
    sent = engineer.submit(form, form, **wish, live_s="1800")
    page = sent.headers["Location"]
    world.work()
    assert "two leads of Vendor decide" in admin.page("/")
    assert f"{page}/approve" not in admin.page(page)
    assert f"{page}/refuse" in admin.page(page)
    assert f"{page}/approve" not in engineer.page(page)
    one, two = (sign_in(app, world, lead) for lead in leads(world))
    assert "waits for two leads" in one.page("/")
    assert f"{page}/refuse" not in one.page(page)
    assert one.submit(page, f"{page}/approve").status_code == 303
    assert "0 of 2" not in two.page("/")
    assert two.submit(page, f"{page}/approve").status_code == 303
    grant = world.grant(page.rpartition("/")[2])
    assert grant.state == "approved"

    assert "A review is owed to you" in admin.page("/")
    assert "without asking you" in admin.page(page)
    assert "Ask for more time" not in engineer.page(page)
    close = f"/reviews/{review_of(world, grant).id}/close"
    assert close not in engineer.page(page)
    assert admin.submit(page, close, note="we talked it through").status_code == 303
    assert "we talked it through" in engineer.page(page)
    assert "A review is owed" not in admin.page("/")
