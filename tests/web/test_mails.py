"""The account's page says how mails read and which are sent."""

from __future__ import annotations

import sqlalchemy as sa

from broker import mail, retries
from broker.letters import Letter, phrase
from broker.tx import Actor, system
from tests.web.browser import Browser
from tests.world import World


def subjects(world: World, actor: Actor) -> list[str]:
    with world.as_(system("tests")) as tx:
        query = sa.select(mail.Mail.subject).where(mail.Mail.person_id == actor.person_id)
        return list(tx.session.scalars(query.order_by(mail.Mail.id)))


def test_what_was_declined_is_not_sent_what_is_owed_is_and_both_in_french(
    world: World, admin: Browser
) -> None:
    assert world.admin.person_id is not None
    chosen = {"language": "fr", "zone": "Europe/Paris", "notice": ["decision"]}
    answer = admin.submit("/account", "/account/mails", **chosen)
    assert answer.status_code == 303, answer.text
    before = len(subjects(world, world.admin))
    with world.as_(system("tests")) as tx:
        for kind in ("reminder", "security", "decision"):
            subject = phrase("A request still waits: %(grant)s", grant=kind)
            letter = Letter(subject, [], kind=kind)
            mail.write(tx, world.admin.person_id, None, letter)
    fresh = subjects(world, world.admin)[before:]
    assert fresh == ["Une demande attend encore : security", "Une demande attend encore : decision"]


def test_a_zone_that_is_none_is_named(world: World, admin: Browser) -> None:
    answer = admin.submit("/account", "/account/mails", language="fr", zone="Mars/Base")
    assert answer.status_code == 422
    assert "Europe/Paris" in answer.text
    with world.as_(world.admin) as tx:
        zone = tx.session.scalar(
            sa.text("SELECT zone FROM person WHERE id = :p"), {"p": world.admin.person_id}
        )
    assert zone is None


def test_the_browsers_language_is_kept_at_sign_in_until_the_person_chooses(
    world: World, admin: Browser
) -> None:
    query = sa.text("SELECT language FROM person WHERE id = :p")
    with world.as_(world.admin) as tx:
        assert tx.session.scalar(query, {"p": world.admin.person_id}) == "en"
    admin.submit("/account", "/language", language="fr")
    with world.as_(world.admin) as tx:
        assert tx.session.scalar(query, {"p": world.admin.person_id}) == "fr"


def test_a_mail_that_bounced_is_shown_with_its_reason_and_without_its_reader(
    world: World, operator: Browser
) -> None:
    assert "did not go out" not in operator.page("/late")
    assert world.admin.person_id is not None
    with world.as_(system("tests")) as tx:
        mail.write(tx, world.admin.person_id, world.tenant, Letter(phrase("A person asks"), []))
        row = tx.session.scalars(sa.select(mail.Mail).order_by(mail.Mail.id.desc())).first()
        assert row is not None
        retries.note_failure(row, tx.at, "the mail server refused the address: 550")
    page = operator.page("/late")
    assert "refused the address: 550" in page
    assert "@tenant.test" not in page
