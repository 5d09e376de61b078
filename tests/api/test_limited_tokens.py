"""Tokens that may do less than their person, their rotation, and accounts of programs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from werkzeug.test import TestResponse

from broker import people, signin
from broker.api_tokens import SCOPES
from broker.errors import Denied
from broker.secret import Secret
from broker.tx import Actor, system
from tests.api.conftest import Api
from tests.api.test_who_sees_what import (
    BODIES,
    OWN,
    QUERIES,
    Operation,
    made_up,
    make_one_of_each,
    operations,
    soon,
)
from tests.world import enrol

PASSWORD = "correct horse battery staple"


def send(api: Api, token: str, method: str, path: str, body: object = None) -> TestResponse:
    headers = {"Authorization": f"Bearer {token}"}
    return api.app.test_client(use_cookies=False).open(
        f"/api/v1{path}", method=method, json=body, headers=headers
    )


def make(api: Api, actor: Actor, **limits: Any) -> str:
    made = api.post(actor, "/tokens", {"name": "ci", "days": 1, **limits})
    assert made.status_code == 201, made.text
    return str(made.json["token"])


def test_a_token_that_reads_does_nothing_else(api: Api) -> None:
    """Every operation that is no GET, also those that are added: a scope must name it."""
    token, ids = make(api, api.world.admin, scopes=[]), made_up()
    assert send(api, token, "GET", "/grants").status_code == 200
    for one in operations():
        if one.method != "GET" and one.name != "rotate_token":
            body = BODIES[one.name](ids) if one.has_body else None
            answer = send(api, token, one.method, one.path.format_map(ids), body)
            assert answer.status_code == 403, one
            assert "limited to reading" in answer.json["detail"]


def test_a_token_of_one_tenant_reads_and_does_nothing_of_another(api: Api) -> None:
    """G12 for the vendor's people too: what is not its tenant's is as if it were not there."""
    world = api.world
    other, _ = enrol(world, "Other tenant")
    ours = make(api, world.engineer, scopes=["grant:request"], tenants=[world.tenant])
    theirs = make(api, world.engineer, scopes=["grant:request"], tenants=[other])
    ticket = world.ticket()
    asked = {"ticket": ticket, "database": world.database_id, "category": "incident"}
    asked |= {"reason": "the customer reports wrong totals", "live_s": 60}
    refused = send(api, theirs, "POST", "/grants", asked)
    assert refused.status_code == 403, refused.text
    granted = send(api, ours, "POST", "/grants", asked)
    assert granted.status_code == 201, granted.text
    for noun in ("tenants", "tickets", "grants", "leases", "snapshots"):
        assert world.tenant not in send(api, theirs, "GET", f"/{noun}").text, noun
    assert send(api, ours, "GET", "/grants").json["items"]
    assert send(api, theirs, "GET", f"/grants/{granted.json['id']}").status_code == 403
    for path in ("/servers", f"/grants?tenant={world.tenant}", f"/tenants/{world.tenant}"):
        assert send(api, theirs, "GET", path).status_code == 403, path


@pytest.mark.long
def test_for_a_limited_token_another_tenants_things_are_nothing(api: Api) -> None:
    """G12, every operation: its person is an admin of both, and the token of one tenant alone."""
    world = api.world
    real = make_one_of_each(world, api)
    other, admin = enrol(world, "Other tenant")
    with world.as_(system("tests")) as tx:
        people.add_membership(tx, admin.person_id, "admin", world.tenant)
    assert api.get(admin, f"/grants/{real['grant_id']}").status_code == 200
    token = make(api, admin, scopes=list(SCOPES), tenants=[other])
    failed = []
    for one in operations():
        answers = [_ask(api, token, one, ids) for ids in (real, made_up())]
        same = answers[0].status_code == answers[1].status_code
        if one.name not in _OF_NOBODY:
            same = answers[0].status_code in {403, 404} and answers[0].data == answers[1].data
        if not same or _told(real, answers[0]):
            failed.append((one.name, *(answer.text for answer in answers)))
    assert not failed, "\n".join(map(str, failed))


@pytest.mark.long
@pytest.mark.parametrize("role", ["engineer", "operator"])
def test_no_operation_tells_a_limited_token_of_the_vendor_of_another_tenant(
    api: Api, role: str
) -> None:
    world = api.world
    real = make_one_of_each(world, api)
    other, _ = enrol(world, "Other tenant")
    actor = {"engineer": world.engineer, "operator": world.operator}[role]
    token = make(api, actor, scopes=list(SCOPES), tenants=[other])
    failed = []
    for one in operations():
        answer = _ask(api, token, one, real)
        if one.name in _OF_NOBODY:
            wrong = bool(_told(real, answer))
        else:
            said = answer.json["detail"] if answer.status_code in {403, 404} else ""
            wrong = not said.startswith(SAID)
        if wrong:
            failed.append((one.name, answer.status_code, answer.text))
    assert not failed, "\n".join(map(str, failed))
    assert world.grant(real["grant_id"]).state == "approved"
    assert world.find_lease(real["lease_id"]).state == "issued"


_OF_NOBODY = OWN | {"list_recipients"}
# What is said to whoever may not; anything else would say something of what is there.
SAID = (
    "there is no such thing",
    "your role does not allow",
    "this token is limited to",
    "a limited token rotates itself",
)


def _ask(api: Api, token: str, one: Operation, ids: dict[str, str]) -> TestResponse:
    path = one.path.format_map(ids) + QUERIES.get(one.name, lambda _: "")(ids)
    body = BODIES[one.name](ids) if one.has_body else None
    return send(api, token, one.method, path, body)


def _told(real: dict[str, str], answer: TestResponse) -> list[str]:
    """What of another tenant's ids stands in an answer; the test's own person apart."""
    own = {"soon", "tile", "external_id", "recipient_id"}  # recipients are the vendor's, for all
    return [value for name, value in real.items() if name not in own and value in answer.text]


@pytest.mark.long
def test_no_entry_of_another_tenant_is_written_by_a_limited_token(api: Api) -> None:
    """The second barrier: a change has its entry (G9), and this one is refused."""
    world = api.world
    actor = replace(world.engineer, tenants=frozenset({"tnt_another"}))
    with pytest.raises(Denied, match="limited to other tenants"), world.as_(actor) as tx:
        people.trail.record(tx, world.tenant, "person.signed_in", "psn_x", {"with": "password"})


@pytest.mark.long
def test_limits_that_can_not_be_meant_are_refused(api: Api) -> None:
    world = api.world
    other, _ = enrol(world, "Other tenant")
    body = {"name": "x", "days": 1}
    for wrong in ({"scopes": ["grant:approve"]}, {"tenants": []}, {"tenants": ["grt_x"]}):
        assert api.post(world.admin, "/tokens", {**body, **wrong}).status_code == 422
    nothing = api.post(world.admin, "/tokens", {**body, "tenants": ["tnt_" + "a" * 26]})
    theirs = api.post(world.admin, "/tokens", {**body, "tenants": [other]})
    assert (nothing.status_code, nothing.data) == (404, theirs.data)


@pytest.mark.long
def test_a_token_is_rotated_by_itself_and_lives_no_longer(api: Api) -> None:
    world = api.world
    token = make(api, world.admin, scopes=[], tenants=[world.tenant])
    mine = api.get(world.admin, "/tokens").json["items"]
    limited = next(one for one in mine if one["scopes"] is not None)
    other = next(one for one in mine if one["scopes"] is None)
    assert send(api, token, "POST", f"/tokens/{other['id']}/rotate", {}).status_code == 403
    path = f"/tokens/{limited['id']}/rotate"
    kept = send(api, token, "POST", path, {"keep_s": 60})
    assert kept.status_code == 201, kept.text
    assert kept.json["expires_at"] <= limited["expires_at"]
    assert send(api, token, "GET", "/me").status_code == 200  # for a minute
    after = api.get(world.admin, "/tokens").json["items"]
    rotated = next(one for one in after if one["id"] == kept.json["id"])
    assert (rotated["scopes"], rotated["tenants"]) == ([], [world.tenant])
    again = send(api, kept.json["token"], "POST", f"/tokens/{rotated['id']}/rotate", {})
    assert again.status_code == 201
    assert send(api, kept.json["token"], "GET", "/me").status_code == 401


@pytest.mark.long
def test_a_token_outlives_the_one_that_made_it_only_with_the_password(api: Api) -> None:
    world = api.world
    with world.as_(system("tests")) as tx:
        signin.set_password(tx, world.admin.person_id, Secret(PASSWORD))
    body = {"name": "siem", "days": 90}
    short = api.post(world.admin, "/tokens", body).json["expires_at"]
    long = api.post(world.admin, "/tokens", {**body, "password": PASSWORD}).json["expires_at"]
    assert short < long
    for _ in range(5):
        assert api.post(world.admin, "/tokens", {**body, "password": "wrong"}).status_code == 401
    # No way to guess beside signing in, here and where a password is changed.
    assert api.post(world.admin, "/tokens", {**body, "password": "wrong"}).status_code == 429
    changed = {"current": "wrong", "password": PASSWORD}
    assert api.post(world.admin, "/me/password", changed).status_code == 429


@pytest.mark.long
def test_a_programs_account_reads_by_limited_tokens_and_decides_nothing(api: Api) -> None:
    world = api.world
    made = api.post(world.admin, "/services", {"name": "siem", "tenant": world.tenant})
    assert made.status_code == 201, made.text
    path = f"/services/{made.json['id']}/tokens"
    unlimited = api.post(world.admin, path, {"name": "x", "days": 1})
    assert (unlimited.status_code, set(unlimited.json["fields"])) == (422, {"scopes"})
    token = api.post(world.admin, path, {"name": "x", "days": 1, "scopes": []}).json["token"]
    assert send(api, token, "GET", "/me").json["name"] == "siem (service)"
    assert send(api, token, "GET", f"/tenants/{world.tenant}/log/entries").status_code == 200
    listed = api.get(world.admin, f"/people?tenant={world.tenant}").json["items"]
    assert [one["id"] for one in listed if one["service"]] == [made.json["id"]]
    _, stranger = enrol(world, "Other tenant")
    for method, tail in (("GET", ""), ("POST", "")):
        body = {"name": "x", "days": 1, "scopes": []} if method == "POST" else None
        theirs = api.send(stranger, method, path + tail, body)
        nothing = api.send(stranger, method, f"/services/psn_{'a' * 26}/tokens", body)
        assert (theirs.status_code, theirs.data) == (404, nothing.data)
    (used,) = api.get(world.admin, path).json["items"]
    assert used["used_at"]
    assert api.send(world.admin, "DELETE", f"{path}/{used['id']}").status_code == 204
    assert send(api, token, "GET", "/me").status_code == 401
    with world.as_(system("tests")) as tx:
        with pytest.raises(sa.exc.DBAPIError, match="account of a program"):
            people.add_membership(tx, made.json["id"], "admin", world.tenant)
        tx.session.rollback()


@pytest.mark.long
def test_a_program_stands_in_for_nobody_and_gets_no_mail(api: Api) -> None:
    world = api.world
    made = api.post(world.admin, "/services", {"name": "siem", "tenant": world.tenant})
    absence = {"delegate": made.json["id"], "ends_at": soon()}
    named = api.post(world.admin, f"/tenants/{world.tenant}/delegates", absence)
    assert named.status_code == 422
    assert "delegate" in named.json["fields"]
    with world.as_(system("tests")) as tx:
        count = "SELECT count(*) FROM mail WHERE person_id = :person"
        assert tx.session.scalar(sa.text(count), {"person": made.json["id"]}) == 0
