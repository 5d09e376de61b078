"""The console in the reader's language: nothing missing, nothing unused, and the choice is kept."""

from __future__ import annotations

from flask import Flask

from broker.languages import translate_filled
from tests import catalogue
from tests.web.browser import HOST, Browser
from tests.world import World

FRENCH = {"Accept-Language": "fr-FR,fr;q=0.9,en;q=0.5"}


def test_every_message_is_translated_and_none_is_unused() -> None:
    faults = [
        fault
        for language in catalogue.LANGUAGES
        if language != "en"
        for fault in catalogue.find_faults(language)
    ]
    assert not faults, "\n".join([*faults, "run: python -m tests.catalogue --update"])


def test_a_page_reads_in_the_language_that_is_asked_for_or_was_chosen(
    app: Flask, world: World
) -> None:
    browser = Browser(app)
    french = browser.client.get("/sign-in", base_url=HOST, headers=FRENCH).text
    assert '<html lang="fr"' in french
    assert "Mot de passe" in french
    unknown = browser.client.get("/sign-in", base_url=HOST, headers={"Accept-Language": "tlh"})
    assert '<html lang="en"' in unknown.text

    chosen = browser.submit("/sign-in", "/language", language="fr")
    assert (chosen.status_code, chosen.headers["Location"]) == (303, "/sign-in")
    assert "Secure; HttpOnly; Path=/; SameSite=Lax" in chosen.headers["Set-Cookie"]
    assert "Mot de passe" in browser.page("/sign-in")
    assert browser.submit("/sign-in", "/language", language="../x").status_code == 422


def test_a_constant_too_is_said_to_each_reader_in_their_own_language(app: Flask) -> None:
    """Jinja says a filter's words once, when it compiles a page, unless it is told not to."""
    page = app.jinja_env.from_string("{{ 0|lasting }}")
    said = {}
    for language in ("en", "fr"):
        with app.test_request_context(headers={"Accept-Language": language}):
            said[language] = page.render()
    assert said == {"en": "not at all", "fr": "pas du tout"}


def test_an_error_is_said_in_french_with_its_names_and_numbers(
    app: Flask, world: World, engineer: Browser
) -> None:
    refused = engineer.client.get("/late", base_url=HOST, headers=FRENCH)
    assert "Votre rôle ne le permet pas (health:read)." in refused.text
    paused = "grt_1 was paused by the customer at 09:14:00 UTC; it gives nothing new until it is "
    said = translate_filled("fr", f"{paused}resumed")
    assert said.startswith("grt_1 fut mis en pause par ")
    assert "à 09:14:00 UTC ; rien de nouveau" in said
    assert translate_filled("fr", "never said anywhere") == "never said anywhere"
    assert translate_filled("en", "grt_1 is over already") == "grt_1 is over already"
