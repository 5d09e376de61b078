"""Your data on the console: the file, an ask, an objection; and the officers' list."""

from __future__ import annotations

from flask import Flask

from broker.tx import system
from tests.web.browser import Browser, read_forms, sign_in
from tests.world import World, add_person


def test_a_person_gets_their_data_asks_and_is_answered(
    app: Flask, admin: Browser, world: World
) -> None:
    path = "/your-data"
    assert path in admin.page("/")
    file = admin.submit(path, f"{path}/export")
    assert (file.status_code, file.mimetype) == (200, "application/zip")
    assert admin.submit(path, f"{path}/object-to-marketing").status_code == 303
    assert admin.submit(path, f"{path}/ask", kind="erasure", said="all of it").status_code == 303
    assert "all of it" in admin.page(path)
    assert admin.act(f"{path}/ask", kind="nothing").status_code == 422
    with world.as_(system("tests")) as tx:
        person = add_person(tx, "privacy_officer", None)
    officer = sign_in(app, world, person)
    assert "/rights" in officer.page("/")
    page = officer.page("/rights")
    assert "all of it" in page
    (extend,) = [one.action for one in read_forms(page).forms if one.action.endswith("/extend")]
    why = "three systems have to be looked through"
    assert officer.submit("/rights", extend, why=why).status_code == 303
    answer = extend.replace("/extend", "/answer")
    sent = officer.submit("/rights", answer, outcome="refused", answer="you are an admin still")
    assert sent.status_code == 303
    shown = admin.page(path)
    assert "you are an admin still" in shown
    assert why in shown
    assert admin.get("/rights").status_code == 403
