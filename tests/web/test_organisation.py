"""Signing in through an organisation's own service, on the pages, against a small one."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass

import pytest
import sqlalchemy as sa
from flask import Flask
from werkzeug.test import TestResponse

from broker import enrolling, people, roles, signin
from broker.enrolling import NewMember
from broker.ids import PersonId, TenantId
from broker.oidc.model import LinkedIdentity
from broker.sessions import WebSession
from broker.tx import Actor, system
from tests.sign_in_service import CLIENT_ID, CLIENT_SECRET, Service, serving
from tests.web.browser import Browser, sign_in
from tests.world import World, enrol

START = "/sign-in/organisation"


@pytest.fixture(scope="module")
def world(module_world: World) -> World:
    return module_world


@pytest.fixture
def service() -> Iterator[Service]:
    with serving() as found:
        yield found


@dataclass
class Organisation:
    """A tenant of its own, with its admin's browser and its registered service."""

    world: World
    app: Flask
    service: Service
    tenant: TenantId
    admin: Actor
    browser: Browser
    provider: str

    def invite(self, role: str = "auditor", email: str = "") -> tuple[PersonId, str]:
        """A new person, and the code of their invitation."""
        address = email or f"{role}.{self.service.subject}.{self.provider[4:12]}@tenant.test"
        settings = self.world.broker.settings
        with self.world.as_(self.admin) as tx:
            new = NewMember(self.tenant, address, f"Person {self.service.subject}", role)
            person_id = enrolling.add_member(tx, new, settings)
        with self.world.as_(system("tests")) as tx:
            invitation = tx.session.scalar(
                sa.select(signin.Invitation.id).where(signin.Invitation.person_id == person_id)
            )
            return person_id, signin.issue_code(tx, invitation or "").reveal()

    def accept(self, code: str) -> tuple[Browser, TestResponse]:
        browser = Browser(self.app)
        action = f"{START}/accept"
        at = f"https://localhost{START}/{self.provider}"
        page = browser.submit("/invitation", action, code=code, at=at)
        assert page.status_code == 200, page.text
        link = page.text.split('href="' + self.service.url)[1].split('"')[0].replace("&amp;", "&")
        return browser, self.come_back(browser, self.service.url + link)

    def enter(self, browser: Browser, path: str = "") -> TestResponse:
        """Sent to the service and back."""
        sent = browser.get(path or f"{START}/{self.provider}")
        assert sent.status_code == 303, sent.text
        return self.come_back(browser, sent.headers["Location"])

    def come_back(self, browser: Browser, address: str) -> TestResponse:
        return worked(self.world, browser, self.service.authorize(address))


def worked(world: World, browser: Browser, path: str) -> TestResponse:
    """The answer to a request that waits for a worker."""
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(browser.get, path)
        while not wait([asked], timeout=0.05).done:
            world.work()
        return asked.result()


@pytest.fixture
def own(app: Flask, world: World, service: Service) -> Organisation:
    tenant, admin = enrol(world, "Organisation")
    browser = sign_in(app, world, admin)
    page = f"/identity-providers?tenant={tenant}"
    registered = browser.submit(
        page,
        "/identity-providers",
        name="Our directory",
        issuer=service.url,
        client_id=CLIENT_ID,
        client_secret=CLIENT_SECRET,
    )
    assert registered.status_code == 303, registered.text
    world.work()
    provider = registered.headers["Location"].rpartition("/")[2]
    assert "people can sign in" in browser.page(f"/identity-providers/{provider}")
    return Organisation(world, app, service, tenant, admin, browser, provider)


def session_of(world: World, person_id: str) -> WebSession:
    with world.as_(system("tests")) as tx:
        query = sa.select(WebSession).where(WebSession.person_id == person_id)
        found = tx.session.scalars(query.order_by(WebSession.created_at.desc())).first()
    assert found is not None
    return found


def test_a_person_is_linked_by_the_invitation_and_signs_in_without_a_password(
    own: Organisation, world: World
) -> None:
    person_id, code = own.invite()
    browser, entered = own.accept(code)
    assert entered.status_code == 303, entered.text
    assert browser.get("/").status_code == 200
    again = Browser(own.app)
    assert own.enter(again).headers["Location"] == "/"
    assert again.page("/")
    assert f"{START}/{own.provider}" in again.page("/sign-in"), "this browser is offered the way"
    opened = session_of(world, person_id)
    assert (opened.via, opened.tenant_id) == ("organisation", own.tenant)
    kinds = [entry["kind"] for entry in world.entries(own.tenant)]
    assert kinds.count("person.signed_in") >= 2
    assert "identity.linked" in kinds
    assert (
        "invitation"
        in Browser(own.app)
        .submit(
            "/invitation",
            f"{START}/accept",
            code=code,
            at=f"https://localhost{START}/{own.provider}",
        )
        .text.lower()
    ), "used"


def test_who_is_not_linked_is_not_found_by_an_address_that_the_service_claims(
    own: Organisation, world: World
) -> None:
    """No take-over: the service says that it is the admin, by their verified address."""
    with world.as_(system("tests")) as tx:
        email = people.get_person(tx, own.admin.person_id or "").email
    own.service.claims = {"email": email, "email_verified": True, "sub": "stranger"}
    refused = own.enter(Browser(own.app))
    assert refused.status_code == 403
    assert "linked with no account here" in refused.text


@pytest.mark.parametrize(
    "lie",
    [
        {"iss": "https://login.example"},
        {"aud": "another-client"},
        {"nonce": "of another sign-in"},
        {"exp": 1},
    ],
)
def test_a_token_that_lies_opens_nothing(own: Organisation, lie: dict[str, object]) -> None:
    _, code = own.invite()
    own.service.claims = lie
    _, refused = own.accept(code)
    assert refused.status_code == 403
    assert "did not prove who you are" in refused.text


def test_an_answer_is_good_once_in_the_browser_that_began_it(own: Organisation) -> None:
    _, code = own.invite()
    own.accept(code)
    browser = Browser(own.app)
    sent = browser.get(f"{START}/{own.provider}")
    back = own.service.authorize(sent.headers["Location"])
    stranger = Browser(own.app).get(back)
    assert (stranger.status_code, "began no sign-in" in stranger.text) == (403, True)
    assert worked(own.world, browser, back).status_code == 303
    tokens = own.service.tokens
    assert browser.get(back).status_code == 403, "the cookie is gone"
    assert own.service.tokens == tokens
    other = Browser(own.app)
    other.get(f"{START}/{own.provider}")
    assert other.get(back).status_code == 403, "another state"
    mixed = Browser(own.app)
    sent = mixed.get(f"{START}/{own.provider}")
    path = own.service.authorize(sent.headers["Location"]).replace("iss=http", "iss=https")
    assert "came from another sign-in service" in mixed.get(path).text


def test_groups_give_exactly_the_roles_that_they_are_mapped_to(
    own: Organisation, world: World
) -> None:
    path = f"/identity-providers/{own.provider}"
    mapped = own.browser.submit(path, path, roles="readers = auditor\nbosses = admin")
    assert mapped.status_code == 303
    person_id, code = own.invite("auditor")
    own.service.claims = {"groups": ["bosses"]}
    own.accept(code)
    with world.as_(system("tests")) as tx:
        assert roles.list_roles(tx, person_id, own.tenant) == ["admin"]
    own.service.claims = {"groups": ["others"]}
    refused = own.enter(Browser(own.app))
    assert "gives you no role here" in refused.text
    with world.as_(system("tests")) as tx:
        assert roles.list_roles(tx, person_id, own.tenant) == []


def test_a_decision_asks_again_and_the_service_must_say_that_they_signed_in_anew(
    own: Organisation,
) -> None:
    path = f"/identity-providers/{own.provider}"
    own.browser.submit(path, path, amr="mfa")
    _, code = own.invite("admin")
    browser, _ = own.accept(code)
    page = browser.submit(path, path, name="Renamed by them")
    assert page.status_code == 401
    assert f"{START}/confirm" in page.text
    refused = own.enter(browser, f"{START}/confirm")
    assert "did not say that you proved again" in refused.text, "no amr"
    assert own.service.last["prompt"] == "login"
    own.service.claims = {"amr": ["pwd", "mfa"], "auth_time": 1}
    assert own.enter(browser, f"{START}/confirm").status_code == 403, "long ago"
    own.service.claims = {"amr": ["pwd", "mfa"]}
    assert own.enter(browser, f"{START}/confirm").status_code == 200
    assert browser.submit(path, path, name="Renamed by them").status_code == 303


def test_back_channel_logout_ends_the_sessions_that_the_service_opened(
    own: Organisation, app: Flask
) -> None:
    _, code = own.invite()
    browser, _ = own.accept(code)
    hook, client = f"/hooks/logout/{own.provider}", app.test_client(use_cookies=False)

    def send(token: str) -> int:
        sent = client.post(hook, data={"logout_token": token}, base_url="https://localhost")
        return sent.status_code

    assert send(own.service.logout_token(nonce="x")) == 400
    assert send(own.service.logout_token(events=None)) == 400
    assert send(own.service.logout_token(aud="another")) == 400
    assert browser.get("/").status_code == 200
    assert send(own.service.logout_token()) == 200
    assert browser.get("/").status_code == 302


def test_one_organisations_service_opens_nothing_of_another(
    own: Organisation, world: World, app: Flask
) -> None:
    """A person of two: what the first's service says must not reach the second, nor tell of it."""
    person_id, code = own.invite()
    other, other_admin = enrol(world, "Elsewhere")
    with world.as_(other_admin) as tx:
        people.add_membership(tx, person_id, "admin", other)
    browser, _ = own.accept(code)
    adapter = app.url_map.bind("localhost")
    for rule in app.url_map.iter_rules():
        plain = not rule.arguments and "GET" in (rule.methods or ())
        if not plain or not rule.endpoint.startswith("console.") or "sign-in" in rule.rule:
            continue
        page = browser.get(adapter.build(rule.endpoint))
        assert other not in page.text, rule.rule
        assert "Elsewhere" not in page.text, rule.rule
    assert browser.get("/account").status_code == 403
    assert browser.get(f"/tenants/{other}/delegates").status_code == 404
    told = [entry for entry in world.entries(other) if entry["kind"] == "person.signed_in"]
    assert not told


def test_a_removed_service_ends_its_sessions_and_links(own: Organisation, world: World) -> None:
    person_id, code = own.invite()
    browser, _ = own.accept(code)
    page = f"/identity-providers/{own.provider}"
    assert own.browser.submit(page, f"{page}/people/{person_id}/unlink").status_code == 303
    assert browser.get("/").status_code == 302
    assert own.enter(Browser(own.app)).status_code == 403
    assert own.browser.submit(page, f"{page}/remove").status_code == 303
    assert own.browser.get(page).status_code == 404
    assert Browser(own.app).get(f"{START}/{own.provider}").status_code == 404
    with world.as_(system("tests")) as tx:
        left = sa.select(LinkedIdentity.subject).where(LinkedIdentity.provider_id == own.provider)
        assert tx.session.scalar(left) is None


def test_somebody_who_is_signed_in_links_their_own_account(own: Organisation) -> None:
    own.service.subject = "the-admin"
    linked = own.enter(own.browser, f"{START}/{own.provider}/link")
    assert (linked.status_code, linked.headers["Location"]) == (303, "/account")
    assert "linked with your account" in own.browser.page("/account")
    assert own.enter(Browser(own.app)).status_code == 303
