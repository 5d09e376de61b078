"""Signing in and out of the console, its cookies, and forms that nobody can forge."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Flask

from broker import signin
from broker.sessions import WebSession
from broker.tx import system
from broker.web.session import local_path
from tests.web.browser import HOST, PASSWORD, Browser, give_password, sign_in
from tests.world import World, add_person


def seen_at(world: World) -> object:
    with world.as_(system("tests")) as tx:
        return tx.session.scalar(sa.select(WebSession.seen_at).where(WebSession.ended_at.is_(None)))


def test_who_signs_in_comes_to_the_page_that_was_asked_for(app: Flask, world: World) -> None:
    browser, email = Browser(app), give_password(world, world.admin)
    asked = browser.get("/copies")
    assert asked.status_code == 302
    assert asked.headers["Location"] == "/sign-in?next=/copies"
    answer = browser.submit("/sign-in?next=/copies", "/sign-in", email=email, password=PASSWORD)
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/copies"
    assert "Ada Admin" in browser.page("/copies")


def test_the_cookies_are_bound_to_this_host_and_no_script_reads_them(
    app: Flask, world: World
) -> None:
    browser, email = Browser(app), give_password(world, world.admin)
    before = browser.get("/sign-in").headers.getlist("Set-Cookie")
    answer = browser.submit("/sign-in", "/sign-in", email=email, password=PASSWORD)
    cookies = [*before, *answer.headers.getlist("Set-Cookie")]
    names = {"__Host-session", "__Host-flask", "__Host-device"}
    assert {cookie.split("=")[0] for cookie in cookies} == names
    for cookie in cookies:
        parts = {part.strip().lower() for part in cookie.split(";")[1:]}
        assert {"secure", "httponly", "path=/", "samesite=lax"} <= parts, cookie
        assert not any(part.startswith("domain") for part in parts), cookie


def test_a_wrong_password_and_an_unknown_address_get_the_same_answer(
    app: Flask, world: World
) -> None:
    browser, email = Browser(app), give_password(world, world.admin)
    wrong = browser.submit("/sign-in", "/sign-in", email=email, password="not the password")
    unknown = browser.submit("/sign-in", "/sign-in", email="x" + email, password=PASSWORD)
    assert wrong.status_code == unknown.status_code == 401
    sentence = "the address or the password is wrong"
    assert sentence in wrong.text
    assert sentence in unknown.text
    assert "__Host-session" not in str(wrong.headers)


def test_guessing_is_stopped_and_says_when_to_come_back(app: Flask, world: World) -> None:
    browser, email = Browser(app), give_password(world, world.admin)
    for _ in range(5):
        browser.submit("/sign-in", "/sign-in", email=email, password="a wrong guess")
    answer = browser.submit("/sign-in", "/sign-in", email=email, password=PASSWORD)
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "900"


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "/%5cevil.example",
        "\\/evil.example",
        "javascript:alert(1)",
        "/\t/evil.example",
        "/copies\r\nX-Evil: 1",
        "/copies?next=//evil.example",
        "/copies\n",
        "",
    ],
)
def test_a_target_that_may_lead_away_is_the_first_page(target: str) -> None:
    assert local_path(target) == "/"


def test_a_path_of_ours_is_kept_as_a_target() -> None:
    path = "/log?before=12&tenant=tnt_a"
    assert local_path(path) == path


def test_no_redirect_leads_away(app: Flask, world: World) -> None:
    browser, email = Browser(app), give_password(world, world.admin)
    answer = browser.submit(
        "/sign-in", "/sign-in", email=email, password=PASSWORD, next="//evil.example"
    )
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/"


def test_signing_out_ends_the_session_and_not_only_the_cookie(admin: Browser, app: Flask) -> None:
    stolen = admin.client.get_cookie("__Host-session", "localhost")
    assert stolen is not None
    answer = admin.submit("/", "/sign-out")
    assert answer.status_code == 303
    assert admin.get("/").status_code == 302
    thief = Browser(app)
    thief.client.set_cookie("__Host-session", stolen.value, domain="localhost", secure=True)
    assert thief.get("/").status_code == 302


def test_signing_in_ends_the_session_that_was_there(admin: Browser, world: World) -> None:
    email = give_password(world, world.engineer)
    admin.submit("/sign-in", "/sign-in", email=email, password=PASSWORD)
    with world.as_(system("tests")) as tx:
        alive = tx.session.scalars(
            sa.select(WebSession.person_id).where(WebSession.ended_at.is_(None))
        ).all()
    assert alive == [world.engineer.person_id]


def test_a_form_without_its_token_changes_nothing(
    admin: Browser, world: World, waiting: str
) -> None:
    fields = [("note", "a refusal that was forged")]
    for forged in (fields, [*fields, ("csrf_token", "forged")]):
        answer = admin.post(f"/grants/{waiting}/refuse", forged)
        assert answer.status_code == 400
        assert "Nothing was changed" in answer.text
    assert world.grant(waiting).state == "requested"


def test_a_token_of_another_session_is_no_token(
    admin: Browser, app: Flask, world: World, waiting: str
) -> None:
    foreign = Browser(app).token()
    answer = admin.post(
        f"/grants/{waiting}/refuse", [("csrf_token", foreign), ("note", "a forged refusal")]
    )
    assert answer.status_code == 400
    assert world.grant(waiting).state == "requested"


def test_a_form_sent_from_another_site_is_refused(
    admin: Browser, world: World, waiting: str
) -> None:
    answer = admin.client.post(
        f"/grants/{waiting}/refuse",
        base_url=HOST,
        data={"csrf_token": admin.token(), "note": "a forged refusal"},
        headers={"Referer": "https://evil.example/"},
    )
    assert answer.status_code == 400
    assert world.grant(waiting).state == "requested"


def test_a_page_left_open_keeps_no_session_alive(admin: Browser, world: World) -> None:
    admin.page("/")
    before = seen_at(world)
    admin.page("/fragments/home")
    assert seen_at(world) == before
    admin.page("/copies")
    assert seen_at(world) != before


def test_a_session_left_idle_is_over_and_a_fragment_says_so(admin: Browser, world: World) -> None:
    idle = timedelta(seconds=world.broker.settings.times.session_idle_s + 1)
    with world.as_(system("tests")) as tx:
        tx.session.execute(sa.update(WebSession).values(seen_at=WebSession.seen_at - idle))
    assert admin.get("/fragments/home").status_code == 401
    assert admin.get("/").status_code == 302


def test_an_invitation_sets_a_password_once(app: Flask, world: World) -> None:
    with world.as_(system("tests")) as tx:
        invited = add_person(tx, "auditor", world.tenant)
        assert invited.person_id is not None
        invitation = signin.invite(tx, invited.person_id, world.broker.settings.times)
        code = signin.issue_code(tx, invitation).reveal()
    browser, path = Browser(app), "/invitation"
    differing = browser.submit(path, path, code=code, password=PASSWORD, again=PASSWORD + "!")
    assert "the two passwords are not the same" in differing.text
    short = browser.submit(path, path, code=code, password="short", again="short")
    assert short.status_code == 422
    taken = browser.submit(path, path, code=code, password=PASSWORD, again=PASSWORD)
    assert taken.status_code == 303
    again = browser.submit(path, path, code=code, password=PASSWORD, again=PASSWORD)
    assert again.status_code == 422
    assert "was used" in again.text
    sign_in(app, world, invited)


def test_another_host_name_gets_no_page(app: Flask) -> None:
    answer = app.test_client().get("/sign-in", base_url="https://evil.example")
    assert answer.status_code == 400
    assert answer.mimetype == "text/plain"
