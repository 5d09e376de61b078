"""Passkeys in a real browser with its own virtual authenticator, under our strict CSP."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright
from werkzeug.serving import make_server

from broker.audit.statements import verify_signed
from broker.demo.processes import free_port
from broker.grants import decisions
from broker.grants.statements import sign_due
from broker.http import create_app
from tests.stories import pinned
from tests.system.conftest import need_package
from tests.web.browser import PASSWORD, give_password
from tests.web.conftest import ask
from tests.world import World

CHROMIUM = Path("/usr/bin/chromium")
PHONE = {"width": 390, "height": 844}


@dataclass(frozen=True)
class Site:
    url: str
    world: World


@pytest.fixture
def site(world: World) -> Iterator[Site]:
    """The console, at the address that its passkeys are made for."""
    port = free_port()
    url = f"http://localhost:{port}"
    settings = world.broker.settings
    web = settings.web.model_copy(update={"public_url": url})
    app = create_app(replace(world.broker, settings=settings.model_copy(update={"web": web})))
    server = make_server("127.0.0.1", port, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Site(url, world)
    server.shutdown()
    thread.join()


@pytest.fixture
def waiting(world: World) -> str:
    """Made before the browser is there: Playwright has an event loop of its own in this thread."""
    return ask(world)


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    """A phone that knows its owner by fingerprint; any error of a script or the CSP fails."""
    need_package("chromium", CHROMIUM)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        context = browser.new_context(viewport=PHONE)
        page, faults = context.new_page(), list[str]()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on(
            "console",
            lambda said: faults.append(said.text) if "Content Security" in said.text else None,
        )
        session = context.new_cdp_session(page)
        session.send("WebAuthn.enable")
        device = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True}
        user = {"hasUserVerification": True, "isUserVerified": True}
        session.send(
            "WebAuthn.addVirtualAuthenticator",
            {"options": {**device, **user, "automaticPresenceSimulation": True}},
        )
        yield page
        browser.close()
        assert faults == []


def test_an_admin_registers_signs_in_and_decides_with_a_passkey(
    site: Site, waiting: str, page: Page
) -> None:
    world, grant_id = site.world, waiting
    email = give_password(world, world.admin)
    page.goto(f"{site.url}/account")
    page.get_by_label("E-mail address").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_label("Name of a new passkey").fill("Ada's phone")
    page.get_by_role("button", name="Register a passkey").click()
    expect(page.get_by_role("status")).to_contain_text("Your passkey is registered")
    page.get_by_role("button", name="Sign out").click()
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()

    page.goto(f"{site.url}/grants/{grant_id}")
    page.get_by_role("button", name="Approve with your passkey").click()
    expect(page.get_by_role("status").first).to_contain_text("You approved this request")
    assert world.grant(grant_id).state == "approved"
    sign_due(world.broker.database, world.ports.keys)
    with world.as_(world.admin) as tx:
        (one,) = decisions.list_decisions(tx, grant_id)
        envelope = decisions.read_decision_envelope(tx, one.id)
    assert one.passkey is not None
    report = verify_signed(envelope, pinned(world), [one.passkey])
    assert report.ok, report.findings


def test_a_passkey_that_is_not_there_leaves_the_form_as_it_was(site: Site, page: Page) -> None:
    page.goto(f"{site.url}/sign-in")
    page.get_by_label("E-mail address").fill("ada@example.com")
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.locator("#passkey-says")).to_contain_text("Nothing was changed")
    expect(page.get_by_label("E-mail address")).to_have_value("ada@example.com")
