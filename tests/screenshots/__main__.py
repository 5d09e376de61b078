"""`make screenshots [ONLY=word]`: every page in every state as a picture in `var/screenshots/`.

Four looks, so that each language, each width and each of light and dark is seen with each other.
They are made to be looked at, by a person, before a landing that changes pages; nothing compares
them. A page whose script or policy complains fails the run.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from playwright.sync_api import BrowserContext, Page

from broker.embedded import (
    ROOT_FOLDER,
    TEST_SERVER_SETTINGS,
    EmbeddedServer,
    make_root_folder,
    running,
)
from tests.screenshots.scenes import Scenes, Shot, make_scenes
from tests.system.browsing import DESK, PHONE, Chromium, Site, chromium, serving, sign_in
from tests.web.browser import give_password
from tests.world import (
    World,
    build_world,
    clone_crm,
    find_crm_marks,
    make_control_template,
)

INTO = Path("var/screenshots")


@dataclass(frozen=True)
class Look:
    name: str
    size: dict[str, int]
    locale: str
    colours: Literal["light", "dark"]


LOOKS = (
    Look("phone-fr-light", PHONE, "fr-FR", "light"),
    Look("desk-en-light", DESK, "en-GB", "light"),
    Look("phone-en-dark", PHONE, "en-GB", "dark"),
    Look("desk-fr-dark", DESK, "fr-FR", "dark"),
)


@contextmanager
def built() -> Iterator[World]:
    if os.geteuid() == 0:
        make_root_folder()
    elsewhere = ROOT_FOLDER if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(dir=elsewhere, prefix="brk-shots-"))
    folder.chmod(0o711)  # the servers' user goes through; what is in it has rights of its own
    control, live = EmbeddedServer(folder / "control"), EmbeddedServer(folder / "live")
    test = EmbeddedServer(folder / "test", settings=TEST_SERVER_SETTINGS)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        for server in (control, live, test):
            stack.enter_context(running(server))
        marks, template = find_crm_marks(live), make_control_template(control)
        own = folder / "own"
        own.mkdir()
        yield stack.enter_context(build_world(template, live, test, own, clone_crm(live), marks))


def take_all(site: Site, browser: Chromium, scenes: Scenes, addresses: dict[str, str]) -> int:
    """Returns how many were taken."""
    only = os.environ.get("ONLY", "")
    by_role: dict[str, list[Shot]] = defaultdict(list)
    for shot in scenes.shots():
        if only in f"{shot.name}.{shot.role}":
            by_role[shot.role].append(shot)
    taken = 0
    for look in LOOKS:
        for role, shots in by_role.items():
            context = browser.context(look.size, look.locale)
            taken += _take(site, context, look, shots, addresses.get(role))
            context.close()
        sys.stdout.write(f"{look.name}: {taken} so far\n")
        sys.stdout.flush()
    return taken


def _take(
    site: Site, context: BrowserContext, look: Look, shots: list[Shot], address: str | None
) -> int:
    page = context.new_page()
    page.emulate_media(color_scheme=look.colours)
    if address:
        sign_in(page, site, address)
    return sum(_photograph(site, page, look, shot) for shot in shots)


def _photograph(site: Site, page: Page, look: Look, shot: Shot) -> bool:
    """False for what is refused to this role: one page of it is enough."""
    answer = page.goto(site.url + shot.path)
    if answer is None or (not answer.ok and not shot.name.startswith("error")):
        return False
    if shot.then:
        shot.then(page)
    folder = INTO / look.name
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / f"{shot.name}.{shot.role or 'stranger'}.png", full_page=True)
    return True


def main() -> None:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    shutil.rmtree(INTO, ignore_errors=True)
    with built() as world:
        scenes = make_scenes(world)
        addresses = {role: give_password(world, actor) for role, actor in scenes.people.items()}
        with serving(world) as site, chromium() as browser:
            taken = take_all(site, browser, scenes, addresses)
    sys.stdout.write(f"{taken} pictures in {INTO}\n")


main()
