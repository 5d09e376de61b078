"""An authenticator app on the console: a password alone opens nothing once it is on."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime

import sqlalchemy as sa
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from flask import Flask
from werkzeug.test import TestResponse

from broker.tx import system
from tests.web.browser import PASSWORD, Browser, give_password
from tests.world import World

BASE = "/account/authenticator"


def now(world: World) -> datetime:
    return world.broker.database.now(system("tests")).astimezone(UTC)


def code_at(world: World, seed: str, steps: int = 0) -> str:
    made = TOTP(base64.b32decode(seed), 6, hashes.SHA1(), 30, enforce_key_length=False)  # noqa: S303
    return made.generate(int(now(world).timestamp()) + 30 * steps).decode()


def turn_on(world: World, browser: Browser) -> tuple[str, list[str]]:
    """The seed and the recovery codes, as they are shown."""
    shown = browser.submit("/account", BASE)
    found = re.search(r"<p class=\"font-monospace[^>]*>([A-Z2-7]{32})</p>", shown.text)
    assert found, shown.text
    answer = browser.act(f"{BASE}/confirm", code=code_at(world, found[1], -1))
    assert answer.status_code == 200, answer.text
    return found[1], re.findall(r"<li>([A-Z2-7-]{29})</li>", answer.text)


def enter(app: Flask, email: str, code: str = "") -> TestResponse:
    return Browser(app).submit("/sign-in", "/sign-in", email=email, password=PASSWORD, code=code)


def test_a_code_is_asked_beside_the_password_and_taken_once(
    app: Flask, world: World, admin: Browser
) -> None:
    seed, codes = turn_on(world, admin)
    assert len(set(codes)) == 10
    email = give_password(world, world.admin)
    bare = enter(app, email)
    assert (bare.status_code, "is needed too" in bare.text) == (401, True)
    wrong = enter(app, email, "000000")
    assert (wrong.status_code, "the code is wrong" in wrong.text) == (401, True)
    good = code_at(world, seed)
    assert enter(app, email, good).status_code == 303
    assert enter(app, email, good).status_code == 401  # a replay
    assert enter(app, email, codes[0].lower()).status_code == 303
    assert enter(app, email, codes[0]).status_code == 401
    with world.as_(system("tests")) as tx:
        mails = tx.session.scalars(sa.text("SELECT text FROM mail WHERE kind = 'security'")).all()
        rows = tx.session.scalars(sa.text("SELECT to_jsonb(a)::text FROM authenticator a")).all()
    assert any("A recovery code was used; 9 are left." in text for text in mails)
    assert any("from a browser that is new here" in text for text in mails)
    assert base64.b32decode(seed).hex() not in rows[0]
    assert "authenticator.added" in world.kinds()


def test_wrong_codes_are_counted_for_the_person_whatever_the_address(
    app: Flask, world: World, admin: Browser
) -> None:
    seed, _ = turn_on(world, admin)
    email = give_password(world, world.admin)
    answers = []
    for number in range(11):
        browser = Browser(app)
        browser.client.environ_base["REMOTE_ADDR"] = f"192.0.2.{number}"
        fields = {"email": email, "password": PASSWORD, "code": "000000"}
        answers.append(browser.submit("/sign-in", "/sign-in", **fields).status_code)
    assert answers == [401] * 10 + [429]
    assert enter(app, email, code_at(world, seed)).status_code == 429


def test_the_api_asks_for_the_code_too(app: Flask, world: World, admin: Browser) -> None:
    seed, _ = turn_on(world, admin)
    body = {"email": give_password(world, world.admin), "password": PASSWORD}
    client = app.test_client()
    bare = client.post("/api/v1/sign-in", json=body, base_url="https://localhost")
    assert bare.status_code == 401
    assert bare.get_json()["type"].endswith("code-needed")
    sent = {**body, "code": code_at(world, seed)}
    given = client.post("/api/v1/sign-in", json=sent, base_url="https://localhost")
    assert given.status_code == 201, given.text
