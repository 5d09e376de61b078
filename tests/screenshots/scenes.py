"""The world that is photographed: every state that a page may be in, and who looks at it.

Made by the domain's own functions on real servers, as the tests make theirs; only names are changed
afterwards to some that read like people's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from flask import Flask
from playwright.sync_api import Page

from broker import device_logins
from broker.audit.integrate import integrate_all
from broker.grants import deciding, pausing, preflights
from broker.grants.narrowing import Narrowing
from broker.http import create_app
from broker.tx import Actor, system
from tests.grants.glass_breaking import ask as ask_glass
from tests.grants.glass_breaking import broken
from tests.stories import control_superuser
from tests.web.conftest import Story, ask, make_story
from tests.web.test_every_page import ids_of, paths
from tests.world import World, add_person, connect, enrol

LARGE_TABLES = 300
TITLES = (
    "Order totals are wrong since Monday",
    "Invoice 2026-0417 can't be opened",
    "Search finds closed contacts",
    "Import of prices stops half way",
)


@dataclass(frozen=True)
class Shot:
    """One page as one person sees it; `then` does on it what brings the state about."""

    name: str
    role: str  # "" for somebody who is not signed in
    path: str
    then: Callable[[Page], None] | None = None


@dataclass
class Scenes:
    world: World
    people: dict[str, Actor]
    story: Story
    more: dict[str, str] = field(default_factory=dict)  # grants in other states, by state

    def shots(self) -> Iterator[Shot]:
        yield from self._by_route()
        yield from self._by_state()
        yield from _errors(self)

    def _by_route(self) -> Iterator[Shot]:
        app = create_app(self.world.broker)
        for role in ("admin", "engineer", "operator", "officer"):
            for endpoint, path in _pages_of(app, ids_of(self.world, self.story)):
                yield Shot(endpoint, role, path)

    def _by_state(self) -> Iterator[Shot]:
        states = {**self.more, "waiting": self.story.waiting, "ended": self.story.ended}
        for state, grant_id in states.items():
            for role in ("admin", "engineer"):
                yield Shot(f"grant-{state}", role, f"/grants/{grant_id}")
        large = f"/grants/{self.more['large']}"
        yield Shot("plan-searched", "admin", f"{large}?q=t_12")
        yield Shot("plan-only-kept", "admin", f"{large}?only_kept=1")
        yield Shot("plan-nothing-found", "admin", f"{large}?q=no-such-table")
        yield Shot("copy-gone", "admin", f"/copies/{self.story.gone}")
        yield Shot("tickets-found", "engineer", "/grants/new?q=order")
        yield Shot("tickets-none", "engineer", "/grants/new?q=no-such-ticket")
        yield Shot("grant-glass", "lead", f"/grants/{self.more['glass']}")
        for path in ("/", "/copies", "/certificates", "/log", "/databases", "/preflight"):
            yield Shot(f"empty{path.replace('/', '-')}", "newcomer", path)
        yield Shot("home", "lead", "/")
        yield Shot("home", "auditor", "/")
        yield Shot("device-found", "engineer", "/device", self._type_device_code)

    def _type_device_code(self, page: Page) -> None:
        with self.world.as_(system("oauth")) as tx:
            _, code = device_logins.ask(tx, "192.0.2.44")
        page.locator("#code").fill(code)
        page.locator("#content form button").first.click()
        page.wait_for_load_state()


def _errors(scenes: Scenes) -> Iterator[Shot]:
    waiting = f"/grants/{scenes.story.waiting}"
    yield Shot("sign-in", "", "/sign-in")
    yield Shot("sign-in-refused", "", "/sign-in", _sign_in_wrongly)
    yield Shot("invitation", "", "/invitation")
    yield Shot("error-404", "admin", "/grants/nothing-there")
    yield Shot("error-403", "admin", "/late")
    yield Shot("error-403-stranger", "", waiting)
    yield Shot("confirm", "admin", "/confirm?next=/")
    yield Shot("error-422", "engineer", f"/grants/new/{scenes.more['ticket']}", _send_empty)
    yield Shot("error-refuse", "admin", waiting, _refuse_without_a_reason)


def _sign_in_wrongly(page: Page) -> None:
    page.locator("#email").fill("ada@first-tenant.example")
    page.locator("#password").fill("not the password")
    page.locator("form[action='/sign-in'] button").click()
    page.wait_for_load_state()


def _send_empty(page: Page) -> None:
    page.evaluate("document.querySelectorAll('#content form').forEach(f => f.noValidate = true)")
    page.locator("#content form[method=post] button").last.click()
    page.wait_for_load_state()


def _refuse_without_a_reason(page: Page) -> None:
    page.evaluate("document.querySelectorAll('#content form').forEach(f => f.noValidate = true)")
    page.locator("form[action$='/refuse'] button").last.click()
    page.wait_for_load_state()


def _pages_of(app: Flask, ids: dict[str, str]) -> list[tuple[str, str]]:
    """Endpoint and path of every page; pieces of pages and files are none."""
    files = (
        *("/bundle", "/envelope", "/pdf", "/timestamp", "/statement", "/file"),
        *("/fragments/", "/your-data/"),
    )
    named = {path: path.strip("/").replace("/", "-") or "home" for path in paths(app, "GET", ids)}
    for value in ids.values():
        named = {path: name.replace(value, value[:3]) for path, name in named.items()}
    return [(name, path) for path, name in named.items() if not any(part in path for part in files)]


def make_scenes(world: World) -> Scenes:
    people = {"admin": world.admin, "engineer": world.engineer, "operator": world.operator}
    with world.as_(system("tests")) as tx:
        people["officer"] = add_person(tx, "privacy_officer", None)
        people["lead"] = add_person(tx, "lead", None)
        people["auditor"] = add_person(tx, "auditor", world.tenant)
    story = make_story(world)
    scenes = Scenes(world, people, story)
    _look_at_servers(world)
    scenes.more |= _other_grants(world)
    _, people["newcomer"] = enrol(world, "Second Tenant")
    _be_late(world, story)
    integrate_all(world.broker.database, world.ports.keys)
    _name_all(world, people)
    return scenes


def _other_grants(world: World) -> dict[str, str]:
    """Each state that the story's three requests are not in; the last two are not worked on."""
    paused, refused, narrowed = world.approved(), ask(world), ask(world)
    world.lease(paused)
    world.work()
    with world.as_(world.admin) as tx:
        pausing.pause_grant(tx, paused, world.broker.queue)
        deciding.refuse(tx, refused, "We look at it together on Monday.")
    narrowing = Narrowing(tables_out=frozenset({"crm.tickets"}), live_s=1800, copy_s=0)
    world.approve(narrowed, narrowing)
    world.work()
    made = {"paused": paused, "refused": refused, "narrowed": narrowed}
    made |= {"broken": broken(world).id, "glass": ask_glass(world).id}
    with connect(world.live, world.crm) as connection:
        for number in range(LARGE_TABLES):
            name = f"crm.t_{number:03}"
            connection.execute(f"CREATE TABLE {name} (id int PRIMARY KEY, status text, mail text)")
    made |= {"large": ask(world), "copied": world.approved(), "ticket": world.ticket()}
    world.order(made["copied"])
    return {**made, "planning": world.request()}


def _look_at_servers(world: World) -> None:
    """A preflight with something to mend."""
    public = f"ON DATABASE {world.crm} TO PUBLIC"
    with connect(world.live, world.crm) as connection:
        connection.execute(f"GRANT TEMPORARY {public}")
    for target in (world.database_id, world.server_id):
        with world.as_(world.operator) as tx:
            preflights.ask(tx, target, world.broker.queue)
    world.work()
    with connect(world.live, world.crm) as connection:
        connection.execute(f"REVOKE TEMPORARY {public.replace(' TO ', ' FROM ')}")


def _be_late(world: World, story: Story) -> None:
    """A copy that does not get destroyed, for twenty minutes."""
    with control_superuser(world) as connection:
        connection.execute(
            "UPDATE snapshot SET stuck_since = now() - interval '20 minutes', attempts = 7, "
            "stuck_reason = 'the test server does not answer' WHERE id = %s",
            [story.copy],
        )


def _name_all(world: World, people: dict[str, Actor]) -> None:
    """Names that read like people's, and a title for each ticket."""
    names = {
        "admin": "Ada Admin",
        "engineer": "Emil Engineer",
        "operator": "Olga Operator",
        "officer": "Paula Privacy",
        "lead": "Lea Lead",
        "auditor": "Aron Auditor",
        "newcomer": "Nils Newcomer",
    }
    with control_superuser(world) as connection:
        for role, actor in people.items():
            for table in ("person", "membership"):
                column = "id" if table == "person" else "person_id"
                connection.execute(
                    f"UPDATE {table} SET name = %s WHERE {column} = %s",
                    [names[role], actor.person_id],
                )
        connection.execute(
            "UPDATE ticket SET title = (%s::text[])[1 + (ascii(right(id, 1)) %% %s)]",
            [list(TITLES), len(TITLES)],
        )
