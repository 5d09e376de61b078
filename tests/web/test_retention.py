"""Retention on the console: what it would take, the confirmation, and what went wrong."""

from __future__ import annotations

from flask import Flask

from broker.retention import running
from broker.tx import system
from tests.web.browser import Browser, read_forms, sign_in
from tests.world import World, add_person


def test_an_officer_sees_what_would_be_taken_and_confirms_it(
    app: Flask, admin: Browser, world: World
) -> None:
    with world.as_(system("tests")) as tx:
        person = add_person(tx, "privacy_officer", None)
    officer = sign_in(app, world, person)
    assert "/retention" in officer.page("/")
    page = officer.page("/retention")
    assert "sign_in_attempt" in page
    (form,) = [one for one in read_forms(page).forms if one.action.endswith("/retention/confirm")]
    assert officer.submit("/retention", form.action).status_code == 303
    running.run(world.broker.database)
    page = officer.page("/retention")
    assert "taken" in page
    assert not [one for one in read_forms(page).forms if one.action.endswith("/confirm")]
    assert "What went wrong" in officer.page("/improvement")
    for path in ("/retention", "/improvement"):
        assert admin.get(path).status_code == 403
