"""How many steps lie between the mail and an approval, for an admin who was never there before."""

from __future__ import annotations

from flask import Flask

from broker import signin
from broker.people import Person
from broker.tx import system
from tests.web.browser import PASSWORD, Browser
from tests.web.conftest import ask
from tests.world import World, add_person

FORMS, FIELDS = 3, 5  # all that a person sends and types, on the way


def test_an_invited_admin_approves_with_three_forms_and_five_fields(
    app: Flask, world: World
) -> None:
    """The invitation, signing in, the decision: the mail's link is kept all the way."""
    grant_id = ask(world)
    with world.as_(system("tests")) as tx:
        invited = add_person(tx, "admin", world.tenant)
        assert invited.person_id is not None
        invitation = signin.invite(tx, invited.person_id, world.broker.settings.times)
        code = signin.issue_code(tx, invitation).reveal()
        email = tx.session.get_one(Person, invited.person_id).email
    browser, typed = Browser(app), []

    def send(path: str, action: str, **fields: str) -> str:
        typed.append(len(fields))
        answer = browser.submit(path, action, **fields)
        assert answer.status_code == 303, answer.text
        return answer.headers["Location"]

    send("/invitation", "/invitation", code=code, password=PASSWORD, again=PASSWORD)
    link = f"/grants/{grant_id}"
    sign_in = browser.get(link).headers["Location"]
    assert send(sign_in, "/sign-in", email=email, password=PASSWORD) == link
    send(link, f"{link}/approve")
    assert world.grant(grant_id).state == "approved"
    assert (len(typed), sum(typed)) == (FORMS, FIELDS)
