"""What holds for every route of the console, read from the application's own map of routes.

These tests look more than they change, so they share one world.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
import sqlalchemy as sa
from flask import Flask

from broker import enrolling
from broker.audit.integrate import integrate_all
from broker.consents import backup_plans
from broker.consents.backup_plans import Draft
from broker.grants import delegates, glass
from broker.grants.delegates import Absence
from broker.ids import new_id
from broker.tickets import FetchedTicket, mirror
from broker.tx import system
from tests import apps
from tests.grants.platforms import register
from tests.grants.storages import register_storage
from tests.sign_in_service import register_directory, register_service, register_webhook
from tests.web.browser import Browser, read_forms, sign_in
from tests.web.conftest import Story, make_story
from tests.world import SYSTEM, World, add_person, enrol

HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def world(module_world: World) -> World:
    return module_world


@pytest.fixture(scope="module")
def story(world: World) -> Story:
    return make_story(world)


@pytest.fixture(scope="module")
def app(world: World) -> Iterator[Flask]:
    with apps.lend(world.broker) as lent:
        yield lent


@pytest.fixture(scope="module")
def admin(app: Flask, world: World) -> Browser:
    return sign_in(app, world, world.admin)


@pytest.fixture(scope="module")
def engineer(app: Flask, world: World) -> Browser:
    return sign_in(app, world, world.engineer)


@pytest.fixture(scope="module")
def operator(app: Flask, world: World) -> Browser:
    return sign_in(app, world, world.operator)


@pytest.fixture(autouse=True)
def no_worker_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing looks through the glass here, so nobody waits for it."""
    monkeypatch.setattr(glass, "WAIT_S", 0.0)


def paths(app: Flask, method: str, ids: dict[str, str]) -> list[str]:
    """Every route of the console that takes `method`, with `ids` in its place."""
    adapter = app.url_map.bind("localhost")
    return [
        adapter.build(rule.endpoint, {name: ids[name] for name in rule.arguments}, method=method)
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith("console.")
        and method in (rule.methods or ())
        and "filename" not in rule.arguments
    ]


def ids_of(world: World, story: Story) -> dict[str, str]:
    return {
        "grant_id": story.open,
        "lease_id": story.lease,
        "snapshot_id": story.copy,
        "certificate_id": story.certificate,
        "tenant_id": world.tenant,
        "ticket_id": world.grant(story.open).ticket_id,
        "target": world.database_id,
        "database_id": world.database_id,
        "platform_id": registered_on(world, "platform"),
        "provider_id": registered_on(world, "identity_provider"),
        "directory_id": registered_on(world, "directory"),
        "webhook_id": registered_on(world, "webhook"),
        "delivery_id": new_id("whd"),
        "storage_id": registered_on(world, "storage"),
        "server_id": world.server_id,
        "decision_id": story.decision,
        "standing_id": story.standing,
        "review_id": new_id("rev"),
        "delegation_id": name_delegate(world),
        "person_id": world.grant(story.open).requester_id,
        "hold_id": new_id("hld"),
        "case_id": new_id("rgt"),
        "breach_id": new_id("brc"),
        "recipient_id": new_id("rcp"),
        "order_id": new_id("ord"),
        "backup_id": declare_backup(world),
        "run_id": new_id("bkr"),
        "restore_id": new_id("bks"),
        "passkey_id": new_id("pky"),
        "session_id": new_id("ses"),
    }


def registered_on(world: World, table: str) -> str:
    """The same each time, as below."""
    with world.as_(system("tests")) as tx:
        found = tx.session.scalar(sa.text(f"SELECT id FROM {table}"))
    if found:
        return str(found)
    if table == "webhook":
        return register_webhook(world)
    if table == "directory":
        return register_directory(world)
    if table == "identity_provider":
        return register_service(world)
    return register(world).id if table == "platform" else register_storage(world, "pages/")


def name_delegate(world: World) -> str:
    """The same each time: naming is an act, and these tests look whether anything changed."""
    with world.as_(system("tests")) as tx:
        found = tx.session.scalar(sa.text("SELECT id FROM delegation"))
        person = None if found else add_person(tx, "auditor", world.tenant)
    if person is None:
        return str(found)
    with world.as_(world.admin) as tx:
        absence = Absence(person.person_id or "", tx.at + timedelta(days=1))
        return delegates.name(tx, world.tenant, absence)


def declare_backup(world: World) -> str:
    """The same each time, as above."""
    with world.as_(system("tests")) as tx:
        found = tx.session.scalar(sa.text("SELECT id FROM backup_plan"))
    if found:
        return str(found)
    with world.as_(world.operator) as tx:
        program = enrolling.add_service(tx, None, "nightly")
        limits = {"every_s": 86400, "longest_s": 3600, "keep_days": 1}
        hours = {"host": "local", "opens": "00:00", "closes": "00:00", "place": "a bucket"}
        return backup_plans.declare(tx, Draft(world.database_id, program, **hours, **limits))


def ids_of_nothing() -> dict[str, str]:
    prefixes = {"grant": "grt", "lease": "lse", "snapshot": "snp", "certificate": "crt"}
    prefixes |= {
        "tenant": "tnt",
        "ticket": "tkt",
        "decision": "dec",
        "standing": "sta",
        "review": "rev",
        "delegation": "dlg",
        "person": "psn",
        "database": "dbs",
        "hold": "hld",
        "recipient": "rcp",
        "order": "ord",
        "backup": "bkp",
        "run": "bkr",
        "restore": "bks",
        "breach": "brc",
        "case": "rgt",
        "passkey": "pky",
        "session": "ses",
        "platform": "plt",
        "provider": "idp",
        "directory": "dir",
        "webhook": "whk",
        "delivery": "whd",
        "storage": "sto",
        "server": "srv",
    }
    ids = {f"{name}_id": new_id(prefix) for name, prefix in prefixes.items()}
    return {**ids, "target": new_id("dbs")}


def rows(world: World) -> dict[str, list[str]]:
    """All rows of the control database; but not that a page was looked at, which is written down:
    the session's last use, and the reading of a plan.
    """
    with world.as_(system("tests")) as tx:
        tables = tx.session.scalars(
            sa.text("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        ).all()
        kept = {
            table: list(
                tx.session.scalars(
                    sa.text(f"SELECT (to_jsonb(t) - 'seen_at')::text FROM {table} t ORDER BY 1")
                )
            )
            for table in tables
            if table not in {"audit_entry", "audit_opening"}
        }
    return kept | {"kinds": [kind for kind in world.kinds() if kind != "plan.read"]}


def test_no_get_changes_a_row_whoever_asks(
    app: Flask, world: World, story: Story, admin: Browser, engineer: Browser, operator: Browser
) -> None:
    gets = paths(app, "GET", ids_of(world, story))
    before = rows(world)
    assert before["snapshot"]
    statuses = [
        browser.get(path).status_code
        for browser in (admin, engineer, operator)
        for path in gets
        if not path.endswith("/live")  # asks a worker to look, and leaves a trace of its own
    ]
    assert set(statuses) <= {200, 403, 404, 409}, statuses
    assert rows(world) == before


def test_what_is_another_tenants_looks_like_what_is_not_there(
    app: Flask, world: World, story: Story
) -> None:
    """G12, for every route with an id: the same status, the same bytes."""
    _, outsider = enrol(world, "Second tenant")
    browser = sign_in(app, world, outsider)
    theirs, nothing = ids_of(world, story), ids_of_nothing()
    gets = list(zip(paths(app, "GET", theirs), paths(app, "GET", nothing), strict=True))
    checked = 0
    for their_path, no_path in gets:
        if their_path == no_path or their_path.startswith("/grants/new"):
            continue  # no id in it, or only for the vendor's people
        seen, absent = browser.get(their_path), browser.get(no_path)
        assert seen.status_code == absent.status_code == 404, their_path
        assert seen.data == absent.data, their_path
        assert dict(seen.headers) == dict(absent.headers), their_path
        checked += 1
    assert checked >= 10
    before = rows(world)
    for their_path, no_path in zip(
        paths(app, "POST", theirs), paths(app, "POST", nothing), strict=True
    ):
        if their_path == no_path or their_path.startswith("/grants/new"):
            continue
        seen = browser.act(their_path, note="a good reason", digest="0" * 64)
        absent = browser.act(no_path, note="a good reason", digest="0" * 64)
        assert seen.data == absent.data, their_path
        assert seen.status_code in {403, 404}, their_path
    assert rows(world) == before


def test_an_address_that_is_no_route_looks_the_same(admin: Browser) -> None:
    absent = admin.get(f"/grants/{new_id('grt')}")
    for path in ("/nothing", "/grants/1", "/grants/grt_%00", "/copies/..%2f..%2fetc"):
        assert admin.get(path).data == absent.data


def test_every_role_has_its_pages(
    app: Flask, world: World, story: Story, admin: Browser, engineer: Browser, operator: Browser
) -> None:
    every = paths(app, "GET", ids_of(world, story))
    ending = ("/people", "/tenants")  # ending everything of a person or tenant; a tenant's policy
    forbidden = {
        "admin": {path for path in every if path.startswith("/grants/new")} | {"/late"},
        "engineer": {
            path
            for path in every
            if path.startswith(("/late", "/log", "/preflight", "/identity", "/webhooks", *ending))
        }
        | {path for path in every if path.startswith("/fragments/databases")}
        | {path for path in every if "/standing" in path},
        "operator": {
            path for path in every if path.startswith(("/grants/new", "/log", "/webhooks", *ending))
        }
        | {path for path in every if "/certificates" in path or path.endswith("/live")}
        | {path for path in every if "/standing" in path},
    }
    for role in ("engineer", "operator"):  # who need to know whether they may ask
        forbidden[role] -= {path for path in every if path.endswith(("/consents", "/backups"))}
    forbidden["operator"] -= {path for path in every if path.endswith("/departure")}
    for role in forbidden:
        forbidden[role] |= {"/rights"}  # the privacy officers' list
        forbidden[role] |= {"/sign-in/organisation/answer"}  # to who began no sign-in
        if role != "operator":
            forbidden[role] |= {"/retention", "/improvement", "/set-up"}
        forbidden[role] |= {"/registers", "/breaches"}
        if role != "engineer":  # who works on the ticket reaches its people
            forbidden[role] |= {path for path in every if path.startswith("/tickets/")}
    browsers = {"admin": admin, "engineer": engineer, "operator": operator}
    for role, browser in browsers.items():
        refused = {path for path in every if browser.get(path).status_code == 403}
        assert refused == forbidden[role], role


@pytest.mark.parametrize("name", ["waiting", "open", "ended"])
def test_a_grant_shows_its_state_to_all_who_may_read_it(
    name: str, story: Story, admin: Browser, engineer: Browser, operator: Browser
) -> None:
    state = {"waiting": "requested", "open": "approved", "ended": "ended"}[name]
    for browser in (admin, engineer, operator):
        assert f">{state}</span>" in browser.page(f"/grants/{getattr(story, name)}")


def test_a_certificate_reads_well_and_downloads_as_it_was_signed(
    story: Story, admin: Browser
) -> None:
    assert story.certificate in admin.page("/certificates")
    page = admin.page(f"/certificates/{story.certificate}")
    assert "cryptographic erase" in page
    assert "What may remain" in page
    file = admin.get(f"/certificates/{story.certificate}/envelope")
    assert file.headers["Content-Disposition"] == (
        f'attachment; filename="{story.certificate}.dsse.json"'
    )
    assert file.mimetype == "application/json"
    assert b"payloadType" in file.data


def test_the_log_shows_what_is_pending_until_it_is_signed(
    admin: Browser, world: World, story: Story
) -> None:
    assert "pending" in admin.page("/log")
    assert admin.get("/log/bundle").status_code == 409
    integrate_all(world.broker.database, world.ports.keys)
    assert ">pending</span>" not in admin.page("/log")
    assert "grant.requested" in admin.page("/log/events?kind=grant.requested")
    assert admin.get("/log/bundle").mimetype == "application/json"


def test_every_answer_carries_the_strict_headers(
    app: Flask, world: World, story: Story, admin: Browser
) -> None:
    for path in [*paths(app, "GET", ids_of(world, story)), "/nothing", "/assets/console.js"]:
        headers = admin.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert path.startswith("/assets/") or headers["Cache-Control"] == "no-store"


def test_no_page_has_inline_script_or_style_nor_asks_another_host(
    app: Flask, world: World, story: Story, admin: Browser, engineer: Browser
) -> None:
    for browser in (admin, engineer):
        for path in paths(app, "GET", ids_of(world, story)):
            page = browser.get(path)
            if page.mimetype != "text/html":
                continue
            for forbidden in (" style=", "<style", "javascript:", ' src="http', ' href="http'):
                assert forbidden not in page.text, (path, forbidden)
            assert page.text.count("<script") == page.text.count('<script src="/assets/')


def test_every_form_that_posts_carries_its_token(
    app: Flask, world: World, story: Story, admin: Browser, engineer: Browser
) -> None:
    for browser in (admin, engineer):
        for path in [*paths(app, "GET", ids_of(world, story)), f"/grants/{story.waiting}"]:
            answer = browser.get(path)
            page = answer.text if answer.mimetype == "text/html" else ""  # files have no forms
            for form in read_forms(page).forms:
                assert form.names("csrf_token") or form.method == "get", path
                assert not (form.method == "get" and form.names("csrf_token")), path


def test_hostile_names_and_titles_are_shown_as_text(
    app: Flask, world: World, admin: Browser, engineer: Browser
) -> None:
    fetched = FetchedTicket("T-<b>1</b>", HOSTILE, world.customer, closed=False, url="javascript:1")
    with world.as_(system("tickets")) as tx:
        seen = mirror.record_look(tx, SYSTEM, fetched.external_id, fetched, missing_s=300)
        for table in ("person", "membership"):
            tx.session.execute(sa.text(f"UPDATE {table} SET name = :n"), {"n": HOSTILE})
    assert seen.ticket_id is not None
    shown = [engineer.page("/grants/new"), engineer.page(f"/grants/new/{seen.ticket_id}")]
    grant_id = world.request(seen.ticket_id)
    world.work()
    path = f"/grants/{grant_id}"
    shown += [admin.page("/"), admin.page(f"{path}?q={HOSTILE}"), admin.page("/log")]
    admin.submit(path, f"{path}/refuse", note=HOSTILE)
    shown += [admin.page(path), engineer.page(path), engineer.page("/")]
    for page in shown:
        assert "<script>" not in page
        assert "<img" not in page
        assert "&lt;script&gt;" in page
        assert 'href="javascript:' not in page
        assert "<b>1</b>" not in page
