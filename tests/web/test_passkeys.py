"""Passkeys through the console's own forms: registering, signing in, deciding, and cheating.

What stands for the guarantee runs in `make test`; the many ways to cheat in `make test-system`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from flask import Flask

from broker.audit.statements import verify_signed
from broker.grants import decisions, delegates
from broker.grants.delegates import Absence
from broker.grants.model import Decision
from broker.grants.statements import sign_due
from broker.http import create_app
from broker.passkeys import Passkey
from broker.people import Person
from broker.sessions import WebSession
from broker.tx import Actor, system
from tests.authenticator import PRESENT, Authenticator
from tests.stories import pinned
from tests.web.browser import PASSWORD, Browser, read_forms, sign_in
from tests.web.conftest import ask
from tests.world import World, add_person

KEYS = "/account/passkeys"


@pytest.fixture(scope="module")
def world(module_world: World) -> World:
    return module_world


@pytest.fixture(scope="module")
def app(world: World) -> Flask:
    return create_app(world.broker)


@pytest.fixture
def person(world: World) -> Actor:
    with world.as_(system("tests")) as tx:
        return add_person(tx, "admin", world.tenant)


@pytest.fixture(scope="module")
def engineer(app: Flask, world: World) -> Browser:
    return sign_in(app, world, world.engineer)


@pytest.fixture
def admin(app: Flask, world: World, person: Actor) -> Browser:
    return sign_in(app, world, person)


@pytest.fixture
def device(admin: Browser) -> Authenticator:
    made = Authenticator()
    assert register(admin, made).status_code == 303
    return made


def options(browser: Browser, path: str, fields: list[tuple[str, str]] | None = None) -> Any:
    answer = browser.post(path, fields or [("csrf_token", browser.token())])
    return answer.status_code, answer.json


def register(browser: Browser, device: Authenticator, name: str = "Ada's phone") -> Any:
    status, asked = options(browser, f"{KEYS}/options")
    assert status == 200, asked
    return browser.act(KEYS, name=name, answer=device.create(asked))


def sign_in_with(browser: Browser, device: Authenticator) -> Any:
    _, asked = options(browser, "/sign-in/passkey/options")
    return browser.act("/sign-in/passkey", answer=device.get(asked))


def decide(browser: Browser, device: Authenticator, grant_id: str, verb: str = "approve") -> Any:
    """As the script does it: the form's fields for the options, and again with the answer."""
    path = f"/grants/{grant_id}"
    form = browser.form(path, f"{path}/{verb}")
    fields = [(name, value) for name, value in form.fields if name not in {"answer", "note"}]
    fields.append(("note", "as the ticket says"))
    status, asked = options(browser, f"{path}/{verb}/options", fields)
    assert status == 200, asked
    return browser.post(f"{path}/{verb}", [*fields, ("answer", device.get(asked))], referer=path)


def kept(world: World, grant_id: str) -> Decision:
    with world.as_(system("tests")) as tx:
        found = tx.session.scalars(sa.select(Decision).where(Decision.grant_id == grant_id)).one()
        tx.session.expunge(found)
        return found


def statement_of(world: World, grant_id: str) -> bytes:
    sign_due(world.broker.database, world.ports.keys)
    with world.as_(world.admin) as tx:
        return decisions.read_decision_envelope(tx, kept(world, grant_id).id)


def age_session(world: World, by: timedelta) -> None:
    with world.as_(system("tests")) as tx:
        earlier = WebSession.authenticated_at - by
        tx.session.execute(sa.update(WebSession).values(authenticated_at=earlier))


def fingerprint(world: World, device: Authenticator) -> str:
    with world.as_(system("tests")) as tx:
        row = sa.select(Passkey).where(Passkey.credential_id == device.credential_id)
        return tx.session.scalars(row).one().fingerprint


def test_a_passkey_is_registered_named_listed_and_signs_in(
    app: Flask, admin: Browser, world: World
) -> None:
    device = Authenticator()
    assert register(admin, device, "Work laptop").status_code == 303
    page = admin.page("/account")
    assert "Work laptop" in page
    assert fingerprint(world, device) in page
    other = Browser(app)
    assert sign_in_with(other, device).status_code == 303
    assert "Work laptop" in other.page("/account")
    said = [e["facts"] for e in world.entries(world.tenant) if e["kind"] == "person.signed_in"]
    assert said[-1] == {"with": "passkey"}


@pytest.mark.long
def test_the_log_names_a_passkey_by_its_fingerprint_and_its_owner_is_told(
    admin: Browser, device: Authenticator, world: World
) -> None:
    entry = [e for e in world.entries(world.tenant) if e["kind"] == "passkey.registered"][-1]
    assert entry["facts"] == {"key": fingerprint(world, device)}
    with world.as_(system("tests")) as tx:
        mails = tx.session.scalars(sa.text("SELECT text FROM mail WHERE subject LIKE 'Security%'"))
        assert any("was added to your account" in text for text in mails)


Bend = Callable[[Authenticator], None]


def set_to(**values: Any) -> Bend:
    def bend(device: Authenticator) -> None:
        for name, value in values.items():
            setattr(device, name, value)

    return bend


BENT = {
    "a phishing page": set_to(origin="https://broker.evil.example"),
    "another domain": set_to(domain="evil.example"),
    "nobody verified": set_to(flags=PRESENT),
    "another key": lambda device: setattr(device, "private", Authenticator().private),
    "another person's handle": set_to(user=b"psn_somebodyelse"),
    "an unknown passkey": set_to(credential_id=b"never registered"),
}


@pytest.mark.long
@pytest.mark.parametrize("how", BENT)
def test_a_passkey_that_is_used_wrongly_signs_nobody_in(
    app: Flask, device: Authenticator, how: str
) -> None:
    BENT[how](device)
    answer = sign_in_with(Browser(app), device)
    assert answer.status_code == 401
    assert "__Host-session" not in str(answer.headers)


@pytest.mark.long
@pytest.mark.parametrize("bent", ["a phishing page", "another domain", "nobody verified"])
def test_a_passkey_is_not_registered_for_another_page_or_without_its_user_verified(
    admin: Browser, bent: str
) -> None:
    device = Authenticator()
    BENT[bent](device)
    assert register(admin, device).status_code == 422


def test_a_challenge_is_good_for_one_answer_in_one_browser(
    app: Flask, device: Authenticator
) -> None:
    asker, thief = Browser(app), Browser(app)
    _, asked = options(asker, "/sign-in/passkey/options")
    options(thief, "/sign-in/passkey/options")
    answer = device.get(asked)
    assert thief.act("/sign-in/passkey", answer=answer).status_code == 401
    assert asker.act("/sign-in/passkey", answer=answer).status_code == 303
    assert asker.act("/sign-in/passkey", answer=answer).status_code == 401


@pytest.mark.long
def test_a_challenge_that_was_answered_badly_is_used_up(app: Flask, device: Authenticator) -> None:
    browser = Browser(app)
    _, asked = options(browser, "/sign-in/passkey/options")
    with browser.client.session_transaction(base_url="https://localhost") as cookie:
        bound = cookie["browser"]
    good = device.private
    device.private = Authenticator().private
    assert browser.act("/sign-in/passkey", answer=device.get(asked)).status_code == 401
    device.private = good
    with browser.client.session_transaction(base_url="https://localhost") as cookie:
        cookie["browser"] = bound
    assert browser.act("/sign-in/passkey", answer=device.get(asked)).status_code == 401


@pytest.mark.long
def test_a_challenge_lapses(app: Flask, device: Authenticator, world: World) -> None:
    browser = Browser(app)
    _, asked = options(browser, "/sign-in/passkey/options")
    with _by_hand(world) as owner:
        owner.execute("UPDATE passkey_challenge SET expires_at = now()")
    assert browser.act("/sign-in/passkey", answer=device.get(asked)).status_code == 401


@pytest.mark.long
def test_a_counter_that_does_not_rise_ends_the_passkey(
    app: Flask, device: Authenticator, world: World
) -> None:
    assert sign_in_with(Browser(app), device).status_code == 303
    device.counter = 0  # a copy of the key in another device
    answer = sign_in_with(Browser(app), device)
    assert answer.status_code == 401
    assert "used by two devices" in answer.text
    device.counter = 9
    assert sign_in_with(Browser(app), device).status_code == 401
    assert "passkey.cloned" in {e["kind"] for e in world.entries(world.tenant)}


@pytest.mark.long
def test_a_passkey_is_removed_by_its_owner_alone(
    app: Flask, admin: Browser, device: Authenticator, world: World, engineer: Browser
) -> None:
    with world.as_(system("tests")) as tx:
        row = sa.select(Passkey.id).where(Passkey.credential_id == device.credential_id)
        passkey_id = tx.session.scalar(row)
    assert engineer.act(f"{KEYS}/{passkey_id}/remove").status_code == 404
    assert engineer.act(f"{KEYS}/{passkey_id}/name", name="mine").status_code == 404
    assert admin.act(f"{KEYS}/{passkey_id}/name", name="Old phone").status_code == 303
    assert "Old phone" in admin.page("/account")
    assert admin.submit("/account", f"{KEYS}/{passkey_id}/remove").status_code == 303
    assert sign_in_with(Browser(app), device).status_code == 401


@pytest.mark.long
def test_the_only_way_to_sign_in_is_not_removed(
    admin: Browser, device: Authenticator, world: World, person: Actor
) -> None:
    with world.as_(system("tests")) as tx:
        tx.session.execute(
            sa.text("UPDATE person SET password_hash = NULL WHERE id = :id"),
            {"id": person.person_id},
        )
        row = sa.select(Passkey.id).where(Passkey.credential_id == device.credential_id)
        passkey_id = tx.session.scalar(row)
    answer = admin.act(f"{KEYS}/{passkey_id}/remove")
    assert answer.status_code == 409
    assert "only way to sign in" in answer.text


def test_a_decision_is_signed_by_the_persons_own_passkey(
    admin: Browser, device: Authenticator, world: World
) -> None:
    """An approval can't be invented: it verifies against a key that the vendor never had."""
    grant_id = ask(world)
    assert decide(admin, device, grant_id).status_code == 303
    assert world.grant(grant_id).state == "approved"
    envelope, mine = statement_of(world, grant_id), fingerprint(world, device)
    report = verify_signed(envelope, pinned(world), [mine])
    assert report.ok, report.findings
    assert any(f"Passkey {mine} signed it" in finding.text for finding in report.findings)
    assert "signed by their passkey" in admin.page(f"/grants/{grant_id}")
    assert kept(world, grant_id).via == "passkey"
    assert not verify_signed(envelope, pinned(world), ["0" * 64]).ok


@pytest.mark.long
def test_a_delegates_passkey_signs_for_whom_the_decision_is(app: Flask, world: World) -> None:
    with world.as_(system("tests")) as tx:
        auditor = add_person(tx, "auditor", world.tenant)
    with world.as_(world.admin) as tx:
        absence = Absence(auditor.person_id or "", tx.at + timedelta(days=1))
        delegation = delegates.name(tx, world.tenant, absence)
    browser, device = sign_in(app, world, auditor), Authenticator()
    register(browser, device)
    grant_id = ask(world)
    assert decide(browser, device, grant_id).status_code == 303
    report = verify_signed(
        statement_of(world, grant_id), pinned(world), [fingerprint(world, device)]
    )
    assert report.ok, report.findings
    assert report.statement is not None
    stood_in = report.statement["by"]["for"]
    assert (stood_in["id"], stood_in["delegation"]) == (world.admin.person_id, delegation)


@pytest.mark.long
def test_a_refusal_is_signed_too(admin: Browser, device: Authenticator, world: World) -> None:
    grant_id = ask(world)
    assert decide(admin, device, grant_id, "refuse").status_code == 303
    report = verify_signed(statement_of(world, grant_id), pinned(world))
    assert report.ok
    assert report.statement is not None
    assert report.statement["passkey"] is not None


@pytest.mark.long
def test_what_was_decided_without_a_passkey_is_attested_by_the_vendor(
    admin: Browser, world: World
) -> None:
    grant_id = ask(world)
    path = f"/grants/{grant_id}"
    assert admin.submit(path, f"{path}/approve").status_code == 303
    envelope = statement_of(world, grant_id)
    report = verify_signed(envelope, pinned(world))
    assert report.ok
    assert "attested by the vendor alone" in report.findings[-1].text
    assert "attested by the vendor" in admin.page(path)
    assert not verify_signed(envelope, pinned(world), ["0" * 64]).ok


@pytest.mark.long
@pytest.mark.parametrize("changed", ["live_s", "mask", "out"])
def test_what_was_signed_is_what_is_decided_and_nothing_else(
    admin: Browser, device: Authenticator, world: World, changed: str
) -> None:
    """A form that is changed after the passkey signed gives nothing, not even less."""
    grant_id = ask(world)
    path = f"/grants/{grant_id}"
    form = admin.form(path, f"{path}/approve")
    fields = [(name, value) for name, value in form.fields if name != "answer"]
    _, asked = options(admin, f"{path}/approve/options", fields)
    other = {"live_s": "1800", "mask": "crm.companies.sector", "out": "crm.notes"}[changed]
    fields = [(n, v) for n, v in fields if n != changed] + [(changed, other)]
    answer = admin.post(f"{path}/approve", [*fields, ("answer", device.get(asked))], referer=path)
    assert answer.status_code == 409
    assert "not what this form says" in answer.text
    assert world.grant(grant_id).state == "requested"


@pytest.mark.long
def test_an_answer_for_one_request_approves_no_other(
    admin: Browser, device: Authenticator, world: World
) -> None:
    first, second = ask(world), ask(world)
    form = admin.form(f"/grants/{first}", f"/grants/{first}/approve")
    fields = [(name, value) for name, value in form.fields if name != "answer"]
    _, asked = options(admin, f"/grants/{first}/approve/options", fields)
    answer = device.get(asked)
    other = admin.form(f"/grants/{second}", f"/grants/{second}/approve").fields
    sent = [(name, value) for name, value in other if name != "answer"]
    assert admin.post(f"/grants/{second}/approve", [*sent, ("answer", answer)]).status_code == 409
    assert world.grant(second).state == "requested"


@pytest.mark.long
def test_another_persons_passkey_decides_nothing(
    app: Flask, admin: Browser, device: Authenticator, world: World
) -> None:
    with world.as_(system("tests")) as tx:
        colleague = add_person(tx, "admin", world.tenant)
    other, foreign = sign_in(app, world, colleague), Authenticator()
    register(other, foreign)
    grant_id = ask(world)
    answer = decide(admin, foreign, grant_id)
    assert answer.status_code == 401
    assert "Your passkey was not accepted" in answer.text
    assert world.grant(grant_id).state == "requested"


@pytest.mark.long
def test_a_decision_that_no_passkey_signed_is_never_stated_as_if_one_had(
    admin: Browser, device: Authenticator, world: World
) -> None:
    """Somebody with our database moves a real assertion onto a decision that it is not of."""
    real, forged = ask(world), ask(world)
    assert decide(admin, device, real).status_code == 303
    path = f"/grants/{forged}"
    assert admin.submit(path, f"{path}/approve").status_code == 303
    assertion = json.dumps(kept(world, real).assertion)
    with _by_hand(world) as owner:
        owner.execute(
            "UPDATE decision SET assertion = %s::jsonb WHERE grant_id = %s", (assertion, forged)
        )
    sign_due(world.broker.database, world.ports.keys)
    assert world.grant(forged).altered_at is not None
    assert "grant.altered" in world.kinds()


def _by_hand(world: World) -> psycopg.Connection:
    """As the owner of our database: somebody who passes every rule of ours."""
    dsn = world.broker.settings.control.owner_dsn
    assert dsn is not None
    return psycopg.connect(dsn.reveal().replace("+psycopg", ""))


@pytest.mark.long
def test_who_may_not_decide_gets_nothing_to_sign(engineer: Browser, world: World) -> None:
    grant_id = ask(world)
    for verb in ("approve", "refuse"):
        status, asked = options(engineer, f"/grants/{grant_id}/{verb}/options")
        assert status == 403
        assert set(asked) == {"error"}


def test_deciding_asks_again_who_it_is_after_5_minutes_and_loses_no_tick(
    admin: Browser, world: World
) -> None:
    grant_id = ask(world)
    path = f"/grants/{grant_id}"
    age_session(world, timedelta(minutes=6))
    asked = admin.submit(path, f"{path}/approve", out="crm.notes", live_s="1800")
    assert asked.status_code == 401
    assert "Confirm that it is you" in asked.text
    assert world.grant(grant_id).state == "requested"
    forms = [f for f in read_forms(asked.text).forms if f.action == f"{path}/approve"]
    fields = [(n, v) for n, v in forms[0].fields if n != "confirm_password"]
    wrong = admin.post(f"{path}/approve", [*fields, ("confirm_password", "not it at all")])
    assert wrong.status_code == 401
    assert "the password is wrong" in wrong.text
    assert "not it at all" not in wrong.text
    right = admin.post(f"{path}/approve", [*fields, ("confirm_password", PASSWORD)])
    assert right.status_code == 303
    assert world.grant(grant_id).given_live_s == 1800
    assert admin.get("/log/bundle").status_code != 302  # proved for all that is done now


@pytest.mark.long
def test_a_passkey_confirms_as_well(admin: Browser, device: Authenticator, world: World) -> None:
    age_session(world, timedelta(minutes=6))
    assert admin.get("/log/bundle").headers["Location"] == "/confirm?next=/log/bundle"
    status, asked = options(admin, "/confirm/options")
    assert status == 200
    answer = device.get(asked)
    sent = admin.act("/confirm", next="/log/bundle", confirm_answer=answer)
    assert (sent.status_code, sent.headers["Location"]) == (303, "/log/bundle")
    assert admin.get("/log/bundle").status_code != 302


@pytest.mark.long
def test_what_a_passkey_signs_needs_no_other_proof_but_is_one(
    admin: Browser, device: Authenticator, world: World
) -> None:
    grant_id = ask(world)
    age_session(world, timedelta(minutes=6))
    assert decide(admin, device, grant_id).status_code == 303
    other = ask(world)
    nonsense = admin.act(f"/grants/{other}/approve", answer="{}")
    assert nonsense.status_code == 422
    assert world.grant(other).state == "requested"


@pytest.mark.long
def test_ending_is_never_held_up(admin: Browser, world: World) -> None:
    grant_id = world.approved()
    age_session(world, timedelta(hours=1))
    assert admin.act(f"/grants/{grant_id}/pause").status_code == 303
    assert admin.act(f"/grants/{grant_id}/end").status_code == 303
    assert world.grant(grant_id).state == "ended"


@pytest.mark.long
def test_guessing_the_password_there_is_slowed_too(admin: Browser, world: World) -> None:
    age_session(world, timedelta(minutes=6))
    codes = [admin.act("/confirm", confirm_password="a wrong guess").status_code for _ in range(6)]
    assert codes == [401] * 5 + [429]
    with world.as_(system("tests")) as tx:
        tx.session.execute(sa.text("DELETE FROM sign_in_attempt"))


@pytest.mark.long
def test_sessions_are_listed_and_ended_by_their_person_alone(
    app: Flask, admin: Browser, world: World, person: Actor, engineer: Browser
) -> None:
    other = sign_in_again(app, world, person)
    with world.as_(person) as tx:
        mine = tx.session.scalars(
            sa.select(WebSession.id)
            .where(WebSession.person_id == person.person_id, WebSession.ended_at.is_(None))
            .order_by(WebSession.created_at)
        ).all()
    assert len(mine) == 2
    path = f"/account/sessions/{mine[1]}/end"
    assert engineer.act(path).status_code == 404
    assert other.get("/").status_code == 200
    assert admin.submit("/account", path).status_code == 303
    assert other.get("/").status_code == 302


def sign_in_again(app: Flask, world: World, person: Actor) -> Browser:
    """A second session: the password stays as it is, for a new one would end the first."""
    with world.as_(person) as tx:
        email = tx.session.get_one(Person, person.person_id).email
    browser = Browser(app)
    browser.submit("/sign-in", "/sign-in", email=email, password=PASSWORD)
    return browser
