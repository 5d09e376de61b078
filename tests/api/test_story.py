"""The story of issue A through the API alone, and each step's refusals."""

from __future__ import annotations

import pytest
from werkzeug.test import TestResponse

from broker import signin
from broker.audit.bundle import parse_bundle
from broker.audit.integrate import integrate_all
from broker.audit.note import VerifierKey
from broker.audit.verify import verify_bundle, verify_certificate
from broker.engines.postgres.scram import make_verifier, new_password
from broker.mail import Mail
from broker.secret import Secret
from broker.tx import system
from tests.api.conftest import Api
from tests.world import add_person


def test_a_grant_a_login_a_copy_and_their_end_are_told_through_the_api(api: Api) -> None:
    world = api.world
    ticket = world.ticket()
    asked = api.ask(ticket)
    assert (asked.status_code, asked.json["state"]) == (201, "requested")
    grant = f"/grants/{asked.json['id']}"
    world.work()
    assert api.get(world.engineer, f"{grant}?wait=10").json["asked_digest"]

    plan = api.get(world.admin, f"{grant}/plan").json
    assert any(column["mask"] == "email" for t in plan["tables"] for column in t["columns"])
    decision = {
        "shown_digest": plan["digest"],
        "tables_out": ["crm.attachments"],
        "live_s": 1800,
        "note": "go on",
    }
    approved = api.post(world.admin, f"{grant}/approve", decision).json
    assert (approved["state"], approved["given_live_s"]) == ("approved", 1800)
    assert approved["given_digest"] != approved["asked_digest"]

    password = new_password()
    sent = {"grant": approved["id"], "verifier": make_verifier(password)}
    lease = api.post(world.engineer, "/leases", sent).json
    snapshot = api.post(world.engineer, "/snapshots", {"grant": approved["id"]}).json
    assert (lease["state"], snapshot["state"]) == ("pending", "ordered")
    world.work()
    assert api.get(world.engineer, f"/leases/{lease['id']}?wait=10").json["state"] == "issued"
    ready = api.get(world.engineer, f"/snapshots/{snapshot['id']}?wait=10").json
    assert (ready["state"], ready["stuck_reason"]) == ("ready", None)
    with world.login(lease["id"], password) as session:
        assert session.execute("SELECT count(*) FROM contacts").fetchone()[0] > 0

    world.close_ticket(ticket)
    world.work()
    world.work()  # the certificate, ordered by a job that was running as the queue looked empty
    destroyed = api.get(world.admin, f"/snapshots/{snapshot['id']}?wait=10").json
    assert destroyed["state"] == "destroyed"
    integrate_all(world.broker.database, world.ports.keys)
    _verify_offline(api, destroyed["certificate"])


def _verify_offline(api: Api, certificate_id: str) -> None:
    """With nothing but what the API gives to the tenant's admin."""
    world = api.world
    listed = api.get(world.admin, f"/tenants/{world.tenant}/keys").json["items"]
    keys = [VerifierKey.parse(key["key"]) for key in listed]
    assert [key["fingerprint"] for key in listed] == [key.fingerprint() for key in keys]
    shown = api.get(world.admin, f"/certificates/{certificate_id}").json
    assert shown["statement"]["certificate"] == certificate_id
    envelope = api.get(world.admin, f"/certificates/{certificate_id}/envelope").data
    assert verify_certificate(envelope, keys).ok
    bundle = api.get(world.admin, f"/tenants/{world.tenant}/log").data
    report = verify_bundle(bundle, keys)
    assert report.ok, report
    assert parse_bundle(bundle).certificates == (envelope,)


def test_a_tenant_is_enrolled_and_its_admin_comes_in_by_the_mailed_code(api: Api) -> None:
    world = api.world
    body = {
        "name": "Second tenant",
        "legal_id": "732 829 320",
        "ticket_customer": "cust-2",
        "admin_email": "grace@second.test",
        "admin_name": "Grace",
    }
    made = api.post(world.operator, "/tenants", body)
    assert made.status_code == 201
    with world.as_(system("tests")) as tx:
        mail = tx.session.query(Mail).filter_by(tenant_id=made.json["id"]).one()
        code = signin.issue_code(tx, mail.invitation_id).reveal()
    keys = api.get(world.operator, f"/tenants/{made.json['id']}/keys").json["items"]
    assert "{code}" in mail.text
    assert code not in mail.text
    assert all(key["fingerprint"] in mail.text for key in keys)

    answers = [
        api.post(None, "/invitations/accept", {"code": code, "password": "a long password"})
        for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [204, 422]
    assert answers[0].data == b""
    assert "code" in answers[1].json["fields"]
    signed_in = _sign_in(api, "grace@second.test", "a long password")
    assert signed_in.status_code == 201
    me = _get_me(api, signed_in.json["token"]).json
    assert (me["name"], me["tenants"]) == ("Grace", [made.json["id"]])
    assert "grant:approve" in me["permissions"]


def _sign_in(api: Api, email: str, password: str) -> TestResponse:
    return api.post(None, "/sign-in", {"email": email, "password": password})


def _get_me(api: Api, token: str) -> TestResponse:
    headers = {"Authorization": f"Bearer {token}"}
    return api.app.test_client().get("/api/v1/me", headers=headers)


def test_an_ended_token_opens_nothing(api: Api) -> None:
    engineer = api.world.engineer
    made = api.post(engineer, "/tokens", {"name": "laptop", "days": 1}).json
    assert _get_me(api, made["token"]).status_code == 200
    assert api.send(engineer, "DELETE", f"/tokens/{made['id']}").status_code == 204
    assert _get_me(api, made["token"]).status_code == 401
    assert made["id"] not in [t["id"] for t in api.get(engineer, "/tokens").json["items"]]


def test_a_wrong_password_and_an_unknown_address_are_answered_alike_and_slowed(api: Api) -> None:
    world = api.world
    with world.as_(system("tests")) as tx:
        person = add_person(tx, "engineer", None)
        signin.set_password(tx, person.person_id, Secret("the right password"))
        from broker.people import get_person

        email = get_person(tx, person.person_id).email
    wrong, unknown = (_sign_in(api, who, "x" * 12) for who in (email, "nobody@vendor.test"))
    assert (wrong.status_code, wrong.data) == (401, unknown.data)
    last = [_sign_in(api, email, "x" * 12) for _ in range(5)][-1]
    assert (last.status_code, last.headers["Retry-After"]) == (429, "900")


def test_only_the_tenants_admin_approves(api: Api) -> None:
    world = api.world
    grant_id = world.request()
    world.work()
    body = {"shown_digest": world.grant(grant_id).asked_digest}
    with world.as_(system("tests")) as tx:
        auditor = add_person(tx, "auditor", world.tenant)
    for actor in (world.engineer, world.operator, auditor):
        assert api.post(actor, f"/grants/{grant_id}/approve", body).status_code == 403
    assert world.grant(grant_id).state == "requested"


def test_a_second_decision_is_a_conflict_that_names_who_and_when(api: Api) -> None:
    world = api.world
    grant_id = world.request()
    world.work()
    body = {"shown_digest": world.grant(grant_id).asked_digest}
    with world.as_(system("tests")) as tx:
        second = add_person(tx, "admin", world.tenant)
    first = api.post(world.admin, f"/grants/{grant_id}/approve", body)
    assert first.status_code == 200
    late = api.post(second, f"/grants/{grant_id}/refuse", {"note": "rather not"})
    assert (late.status_code, late.json["state"]) == (409, "approved")
    assert late.json["by"] == "Ada Admin"
    assert late.json["at"] == first.json["state_at"]
    assert late.json["type"] == "https://broker.test/problems/state-conflict"


def test_the_vendor_can_neither_make_nor_remove_a_tenants_people(api: Api) -> None:
    world = api.world
    body = {"email": "mallory@t.test", "name": "M", "role": "admin", "tenant": world.tenant}
    assert api.post(world.operator, "/people", body).status_code == 403
    path = f"/people/{world.admin.person_id}"
    gone = api.send(world.operator, "DELETE", f"{path}/roles?tenant={world.tenant}")
    assert gone.status_code == 403
    assert api.post(world.operator, f"{path}/disable").status_code == 403
    assert api.get(world.admin, "/me").status_code == 200
    assert api.post(world.admin, "/people", body).status_code == 201
    assert api.post(world.admin, "/people", body).status_code == 409


def test_a_disabled_persons_token_opens_nothing(api: Api) -> None:
    world = api.world
    token = api.token(world.engineer)
    path = f"/people/{world.engineer.person_id}/disable"
    assert api.post(world.operator, path).status_code == 200
    assert _get_me(api, token).status_code == 401


def test_everything_of_a_tenant_ends_with_one_call(api: Api) -> None:
    world = api.world
    grant_id = world.approved()
    lease_id, _ = world.lease(grant_id)
    world.work()
    ended = api.post(world.admin, f"/tenants/{world.tenant}/end-everything")
    assert ended.json == {"ended": 1}
    grant = api.get(world.engineer, f"/grants/{grant_id}").json
    assert grant["end_reason"] == "the customer ended everything"
    world.work()
    lease = api.get(world.admin, f"/leases/{lease_id}?wait=10").json
    assert lease["state"] == "revoked"
    assert lease["role_gone_at"]
    assert api.post(world.admin, f"/leases/{lease_id}/end").status_code == 409


@pytest.mark.parametrize("path", ["/databases", "/servers"])
def test_a_registered_login_comes_sealed_and_is_never_shown(api: Api, path: str) -> None:
    world = api.world
    intake = api.get(world.operator, "/keys/intake").json
    body = {
        "name": "another",
        "host": "db.tenant.test",
        "port": 5432,
        "login": "sab_broker",
        "sealed_password": intake["public"],  # any base64: it is opened where it is used
    }
    if path == "/databases":
        body |= {"tenant": world.tenant, "dbname": "crm", "schemas": ["crm"]}
    made = api.post(world.operator, path, body)
    assert made.status_code == 201
    assert "sealed_password" not in made.json
    query = f"?tenant={world.tenant}" if path == "/databases" else ""
    listed = api.get(world.operator, path + query)
    assert made.json["id"] in [item["id"] for item in listed.json["items"]]
    assert intake["public"].encode() not in listed.data
    assert api.post(world.engineer, path, body).status_code == 403
