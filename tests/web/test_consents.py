"""Reading, giving and withdrawing consents through the forms: one purpose each, nothing ticked."""

from __future__ import annotations

from flask import Flask

from broker.tx import system
from tests.web.browser import Browser, Form, read_forms, sign_in
from tests.world import World, add_person


def of_consents(page: str) -> dict[tuple[str, ...], Form]:
    """The forms of the page by act, purpose and what of it they are about."""
    forms = [form for form in read_forms(page).forms if "/consents/" in form.action]
    assert all(len(form.names("purpose")) == 1 for form in forms)
    found = {
        (form.action.rpartition("/")[2], *form.names("purpose"), *form.names("about")): form
        for form in forms
    }
    assert len(found) == len(forms)
    return found


def test_each_purpose_has_a_form_of_its_own_and_is_withdrawn_as_it_is_given(
    app: Flask, admin: Browser, world: World, waiting: str
) -> None:
    path = f"/tenants/{world.tenant}/consents"
    assert path in admin.page("/")
    page = admin.page(f"{path}?language=fr")
    assert "Copies masquées pour des tests" in page
    assert read_forms(page).ticks == []  # nothing to tick, so nothing ticked beforehand

    def send(act: str, purpose: str) -> int:
        form = of_consents(admin.page(f"{path}?language=fr"))[act, purpose]
        return admin.post(form.action, form.fields, referer=path).status_code

    assert send("withdraw", "test_copy") == 303
    assert ("withdraw", "test_copy") not in of_consents(admin.page(path))
    assert "withdrawn" in admin.page(path)
    assert send("give", "test_copy") == 303
    assert send("withdraw", "live_access") == 303
    assert world.grant(waiting).state == "requested"  # the copy is left to approve
    refused = admin.act(f"{path}/give", purpose="live_access", digest="0" * 64)
    assert refused.status_code == 409
    assert "read it again" in refused.text
    with world.as_(system("tests")) as tx:
        auditor = add_person(tx, "auditor", world.tenant)
    theirs = of_consents(sign_in(app, world, auditor).page(path))
    own = {"marketing_messages", "testimonial", "support_contact"}
    assert {purpose for _, purpose, *_ in theirs} == own
    assert ("give", "support_contact", "email") in theirs
