"""Naming a delegate, deciding as one, and taking it back, through the forms."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from flask import Flask

from broker.tx import system
from tests.web.browser import Browser, read_forms, sign_in
from tests.world import World, add_person


def _field(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M}"


def test_a_delegate_sees_for_whom_and_the_page_of_the_grant_says_so_afterwards(
    app: Flask, admin: Browser, world: World, waiting: str
) -> None:
    path = f"/tenants/{world.tenant}/delegates"
    assert path in admin.page("/")
    assert "Nobody else has a role" in admin.page(path)
    with world.as_(system("tests")) as tx:
        person = add_person(tx, "auditor", world.tenant)
    delegate = sign_in(app, world, person)
    grant = f"/grants/{waiting}"
    assert "Your decision" not in delegate.page(grant)
    who = person.person_id or ""
    late = _field(datetime.now(UTC) + timedelta(days=100))
    refused = admin.submit(path, path, delegate=who, ends_at=late)
    assert refused.status_code == 422
    assert "within 92 days" in refused.text
    assert admin.submit(path, path, delegate=who, ends_at="").status_code == 422
    ends_at = _field(datetime.now(UTC) + timedelta(days=3))
    assert admin.submit(path, path, delegate=who, ends_at=ends_at).status_code == 303
    assert "decides now" in admin.page(path)
    assert "Name who decides for you" not in delegate.page(path)
    assert "Read and decide" in delegate.page("/")
    shown = delegate.page(grant)
    assert "You decide for Ada Admin" in shown
    assert "End now" not in shown
    assert delegate.submit(grant, f"{grant}/approve").status_code == 303
    assert world.grant(waiting).state == "approved"
    assert "for Ada Admin" in admin.page(grant)
    (form,) = [one.action for one in read_forms(delegate.page(path)).forms if "/end" in one.action]
    assert delegate.submit(path, form).status_code == 303
    assert "taken back" in admin.page(path)
