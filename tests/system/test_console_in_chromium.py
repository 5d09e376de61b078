"""The console in a real browser, under its strict CSP: passkeys, the keyboard alone, axe."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from flask import Flask
from playwright.sync_api import BrowserContext, Page, expect

from broker.audit.statements import verify_signed
from broker.grants import decisions
from broker.grants.statements import sign_due
from broker.http import create_app
from tests.stories import pinned
from tests.system.browsing import (
    DESK,
    PHONE,
    RULES,
    Chromium,
    Site,
    address_of,
    axe_source,
    chromium,
    find_faults,
    serving,
    sign_in,
)
from tests.web.browser import PASSWORD
from tests.web.conftest import Story, ask, make_story
from tests.web.test_every_page import ids_of, paths
from tests.world import World


@pytest.fixture(scope="module")
def world(module_world: World) -> World:
    return module_world


@pytest.fixture(scope="module")
def story(world: World) -> Story:
    return make_story(world)


@pytest.fixture(scope="module")
def waiting(world: World, story: Story) -> list[str]:
    """Requests for the admin to decide on, made before the browser is there."""
    return [ask(world), ask(world)]


@pytest.fixture(scope="module")
def addresses(world: World, waiting: list[str]) -> dict[str, str]:
    people = {"admin": world.admin, "engineer": world.engineer, "operator": world.operator}
    return {role: address_of(world, actor) for role, actor in people.items()}


@pytest.fixture(scope="module")
def site(world: World, addresses: dict[str, str]) -> Iterator[Site]:
    with serving(world) as served:
        yield served


@pytest.fixture(scope="module")
def browser(site: Site) -> Iterator[Chromium]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def phone(browser: Chromium) -> Iterator[Page]:
    """A phone that knows its owner by fingerprint."""
    context = browser.context(PHONE)
    page = context.new_page()
    with_passkeys(context, page)
    yield page
    context.close()


def with_passkeys(context: BrowserContext, page: Page) -> None:
    session = context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    device = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True}
    user = {"hasUserVerification": True, "isUserVerified": True}
    session.send(
        "WebAuthn.addVirtualAuthenticator",
        {"options": {**device, **user, "automaticPresenceSimulation": True}},
    )


def test_an_admin_registers_signs_in_and_decides_with_a_passkey(
    site: Site, waiting: list[str], addresses: dict[str, str], phone: Page
) -> None:
    world, grant_id = site.world, waiting[0]
    phone.goto(f"{site.url}/account")
    phone.get_by_label("E-mail address").fill(addresses["admin"])
    phone.get_by_label("Password").fill(PASSWORD)
    phone.get_by_role("button", name="Sign in", exact=True).click()
    phone.get_by_label("Name of a new passkey").fill("Ada's phone")
    phone.get_by_role("button", name="Register a passkey").click()
    expect(phone.get_by_role("status")).to_contain_text("Your passkey is registered")
    phone.get_by_role("button", name="Sign out").click()
    phone.get_by_role("button", name="Sign in with a passkey").click()
    expect(phone.get_by_role("button", name="Sign out")).to_be_visible()

    phone.goto(f"{site.url}/grants/{grant_id}")
    phone.get_by_role("button", name="Approve with your passkey").click()
    expect(phone.get_by_role("status").first).to_contain_text("You approved this request")
    assert world.grant(grant_id).state == "approved"
    sign_due(world.broker.database, world.ports.keys)
    with world.as_(world.admin) as tx:
        (one,) = decisions.list_decisions(tx, grant_id)
        envelope = decisions.read_decision_envelope(tx, one.id)
    assert one.passkey is not None
    report = verify_signed(envelope, pinned(world), [one.passkey])
    assert report.ok, report.findings


def test_a_passkey_that_is_not_there_leaves_the_form_as_it_was(site: Site, phone: Page) -> None:
    phone.goto(f"{site.url}/sign-in")
    phone.get_by_label("E-mail address").fill("ada@example.com")
    phone.get_by_role("button", name="Sign in with a passkey").click()
    expect(phone.locator("#passkey-says")).to_contain_text("Nothing was changed")
    expect(phone.get_by_label("E-mail address")).to_have_value("ada@example.com")


def focused(page: Page) -> str:
    """The words of what has the focus; it must be seen to have it."""
    told: str = page.evaluate(
        """() => {
            const it = document.activeElement, look = getComputedStyle(it);
            const seen = look.outlineStyle !== "none" || look.boxShadow !== "none";
            const quiet = seen || it === document.body;
            return quiet ? it.textContent.trim() : "NOT SEEN: " + it.outerHTML;
        }"""
    )
    assert not told.startswith("NOT SEEN"), told
    return told


def test_an_admin_decides_with_the_keyboard_alone(
    site: Site, browser: Chromium, waiting: list[str], addresses: dict[str, str]
) -> None:
    context = browser.context(DESK)
    page = context.new_page()
    sign_in(page, site, addresses["admin"])
    page.goto(f"{site.url}/grants/{waiting[1]}")
    button = page.locator(f"form[action='/grants/{waiting[1]}/approve'] button").last
    words = (button.text_content() or "").strip()
    for _ in range(300):
        page.keyboard.press("Tab")
        if focused(page) == words:
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").first).to_be_visible()
    assert site.world.grant(waiting[1]).state == "approved"
    context.close()


# Everybody's pages have the same parts: others' roles are walked with SOAK=1.
ROLES = ("admin", "engineer", "operator") if os.environ.get("SOAK") == "1" else ("admin",)


@pytest.mark.parametrize("role", ROLES)
def test_axe_finds_nothing_on_any_page_light_or_dark_and_none_is_wider_than_a_phone(
    site: Site,
    browser: Chromium,
    story: Story,
    addresses: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
    role: str,
) -> None:
    axe = axe_source(tmp_path_factory.getbasetemp())
    context = browser.context(PHONE, "fr-FR")  # whose words are longer
    page = context.new_page()
    found = {"/sign-in": look(page, site, "/sign-in", axe)}
    sign_in(page, site, addresses[role])
    for path in pages_of(create_app(site.world.broker), site.world, story):
        found[path] = look(page, site, path, axe)
    faults = [f"{path}: {fault}" for path, faults in found.items() for fault in faults]
    assert not faults, "\n".join(faults)
    context.close()


def pages_of(app: Flask, world: World, story: Story) -> list[str]:
    """Every route but pieces of pages, each state of a request, and what is not there."""
    every = paths(app, "GET", ids_of(world, story))
    shown = [path for path in every if "/fragments/" not in path]
    return [*shown, f"/grants/{story.waiting}", f"/grants/{story.ended}", "/nothing-there"]


def look(page: Page, site: Site, path: str, axe: str) -> list[str]:
    kind = page.request.head(site.url + path).headers.get("content-type", "")
    if not kind.startswith("text/html"):
        return []  # a file
    page.emulate_media(color_scheme="light")
    page.goto(site.url + path)
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    found = [f"wider than the screen by {wide} px"] if wide > 0 else []
    found += find_faults(page, axe, RULES)
    page.emulate_media(color_scheme="dark")
    return found + find_faults(page, axe, ("color-contrast",))
