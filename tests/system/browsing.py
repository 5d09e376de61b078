"""The console served for a real browser: Debian's Chromium, driven by Playwright, and axe-core.

Imported by tests whose files end in `_in_chromium.py` alone: only `make test-system` installs it.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext, Page, sync_playwright
from werkzeug.serving import make_server

from broker.demo.processes import free_port
from broker.http import create_app
from broker.tx import Actor
from tests.system.conftest import need_package
from tests.web.browser import PASSWORD, give_password
from tests.world import World

CHROMIUM = Path("/usr/bin/chromium")
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
_LOCKED = Path(__file__).parent / "browser"  # package.json and its lock, with hashes
RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")


@dataclass(frozen=True)
class Site:
    url: str
    world: World


@contextmanager
def serving(world: World) -> Iterator[Site]:
    """The console of `world`, at the address that its passkeys are made for."""
    port = free_port()
    url = f"http://localhost:{port}"
    settings = world.broker.settings
    web = settings.web.model_copy(update={"public_url": url})
    app = create_app(replace(world.broker, settings=settings.model_copy(update={"web": web})))
    server = make_server("127.0.0.1", port, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Site(url, world)
    finally:
        server.shutdown()
        thread.join()


@dataclass
class Chromium:
    """Contexts of one browser; whatever a script or the CSP complains of stands in `faults`."""

    browser: Any
    faults: list[str] = field(default_factory=list)

    def context(self, size: dict[str, int] = PHONE, locale: str = "en-GB") -> BrowserContext:
        made: BrowserContext = self.browser.new_context(
            viewport=size,
            locale=locale,
            timezone_id="Europe/Paris",  # so that a time shows two clocks
            reduced_motion="reduce",  # else a colour is looked at while it changes
        )
        made.on("weberror", lambda fault: self.faults.append(str(fault.error)))
        made.on("console", lambda said: self._note(said.text))
        return made

    def _note(self, said: str) -> None:
        if "Content Security" in said:
            self.faults.append(said)


@contextmanager
def chromium() -> Iterator[Chromium]:
    """Start it after the world is made: Playwright has an event loop of its own in this thread."""
    need_package("chromium", CHROMIUM)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        opened = Chromium(browser)
        try:
            yield opened
        finally:
            browser.close()
    assert opened.faults == []


def sign_in(page: Page, site: Site, email: str) -> None:
    page.goto(f"{site.url}/sign-in")
    page.locator("#email").fill(email)
    page.locator("#password").fill(PASSWORD)
    page.locator("form[action='/sign-in'] button").click()
    page.locator("#content h1").wait_for()


def address_of(world: World, actor: Actor) -> str:
    """The person's, who has the tests' password from now on."""
    return give_password(world, actor)


@cache
def axe_source(folder: Path) -> str:
    """axe-core's script, installed into `folder` by its lock's hashes; never kept here."""
    need_package("npm", Path("/usr/bin/npm"))
    for name in ("package.json", "package-lock.json"):
        shutil.copy(_LOCKED / name, folder)
    subprocess.run(
        ["/usr/bin/npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"],
        cwd=folder,
        check=True,
    )
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text()


def find_faults(page: Page, axe: str, rules: Sequence[str]) -> list[str]:
    """What axe finds on the page by `rules`, names of rules or of sets, each with where it stands.

    It is asked from outside: the page's own CSP lets nothing of it in.
    """
    if not page.evaluate("typeof axe === 'object'"):
        page.evaluate(axe)
    found = page.evaluate(
        "rules => axe.run({runOnly: rules, resultTypes: ['violations']})", list(rules)
    )
    return [
        f"{one['id']}: {node['target']} {node['failureSummary']}"
        for one in found["violations"]
        for node in one["nodes"][:3]
    ]
