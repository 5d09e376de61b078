"""Every operation of the specification, asked by those who may not: G12, and closed by default.

The table below says what each operation is sent; an operation that is missing from it fails.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from werkzeug.test import TestResponse

from broker import enrolling, signin
from broker.api.specification import make_specification
from broker.audit.anchoring import keep
from broker.audit.integrate import integrate_all
from broker.audit.timestamps import Stamped
from broker.backups import restores, runs
from broker.backups.runs import Report
from broker.consents import backup_plans, ledger
from broker.consents.backup_plans import Draft
from broker.consents.purposes import REGULAR_BACKUPS, get_purpose
from broker.engines.postgres.scram import make_verifier, new_password
from broker.grants.statements import sign_due
from broker.ids import new_id
from broker.secret import Secret
from broker.tx import Actor, system
from tests.api.conftest import Api
from tests.grants.glass_breaking import break_glass
from tests.grants.platforms import register
from tests.grants.storages import register_storage
from tests.sign_in_service import register_directory, register_service, register_webhook
from tests.world import World, add_person, enrol

DOCUMENT = json.loads(make_specification())
Ids = dict[str, str]
VERIFIER = make_verifier(new_password())
SERVER = {
    "name": "mine",
    "host": "db.test",
    "port": 5432,
    "login": "x",
    "sealed_password": base64.b64encode(b"sealed").decode(),
}

# What is sent to an operation: its query, its body, made of ids of things.
BODIES: dict[str, Callable[[Ids], object]] = {
    "create_token": lambda _: {"name": "x", "days": 1},
    "rotate_token": lambda _: {},
    "add_service": lambda ids: {"name": "siem", "tenant": ids["tenant_id"]},
    "create_service_token": lambda _: {"name": "x", "days": 1, "scopes": []},
    "change_password": lambda _: {"current": "not this one", "password": "a long enough one"},
    "choose_mails": lambda _: {"language": "fr", "zone": None, "declined": []},
    "add_person": lambda ids: {
        "email": "new@t.test",
        "name": "N",
        "role": "auditor",
        "tenant": ids["tenant_id"],
    },
    "announce_departure": lambda _: {"leaves_at": "2030-01-01T00:00:00Z"},
    "identify_tenant": lambda _: {"legal_id": "FR83404833048"},
    "set_copies_quota": lambda _: {"copies_bytes": 10**12},
    "set_server_capacity": lambda _: {"capacity_bytes": 10**12},
    "create_tenant": lambda _: {
        "name": "T",
        "legal_id": "732829320",
        "ticket_customer": "c",
        "admin_email": "a@t.test",
        "admin_name": "A",
    },
    "register_database": lambda ids: {
        **SERVER,
        "tenant": ids["tenant_id"],
        "dbname": "d",
        "schemas": ["s"],
    },
    "register_server": lambda _: SERVER,
    "register_platform": lambda ids: {
        "tenant": ids["tenant_id"],
        "name": "P",
        "audience": "https://crm.example/taken",
    },
    "register_webhook": lambda ids: {
        "tenant": ids["tenant_id"],
        "name": "W",
        "url": "https://hook.example",
    },
    "register_directory": lambda ids: {"tenant": ids["tenant_id"], "name": "D"},
    "register_identity_provider": lambda ids: {
        "tenant": ids["tenant_id"],
        "name": "S",
        "issuer": "https://login.example",
        "client_id": "c",
    },
    "change_identity_provider": lambda _: {"name": "another name"},
    "register_storage": lambda ids: {
        "tenant": ids["tenant_id"],
        "name": "S",
        "bucket": "objects",
        "prefix": "taken/",
    },
    "ask_session": lambda _: {"public": base64.b64encode(bytes(32)).decode()},
    "register_logins": lambda _: {"known_logins": ["app"]},
    "register_standbys": lambda _: {"standbys": ["standby.example:5432"]},
    "allow_drills": lambda _: {"allowed": True},
    "release_database": lambda _: {"closed_s": 0},
    "look_at_ticket": lambda ids: {"external_id": ids["external_id"]},
    "request_grant": lambda ids: {
        "ticket": ids["ticket_id"],
        "database": ids["database_id"],
        "category": "incident",
        "reason": "looking for what is not mine",
        "live_s": 60,
    },
    "approve_grant": lambda ids: {"shown_digest": ids["digest"]},
    "name_delegate": lambda ids: {
        "delegate": ids["colleague_id"],
        "ends_at": (datetime.now(UTC) + timedelta(days=1)).isoformat(),
    },
    "set_approval_policy": lambda _: {"approvals": 1},
    "confirm_approval_policy": lambda _: {"version": 1},
    "refuse_grant": lambda _: {"note": "not mine"},
    "give_standing": lambda ids: {
        "grant": ids["grant_id"],
        "shown_digest": ids["digest"],
        "severities": ["1"],
        "live_max_s": 60,
        "ends_at": ids["soon"],
    },
    "agree_to_standing": lambda ids: {"shown_digest": ids["digest"]},
    "end_standing": lambda _: {},
    "show_contact": lambda ids: {"person": ids["person_id"], "field": "email"},
    "write_to_contact": lambda ids: {"person": ids["person_id"], "text": "not mine to write"},
    "ask_for_right": lambda _: {"kind": "access"},
    "take_in_right": lambda ids: {"person": ids["person_id"], "kind": "access", "proof": "none"},
    "extend_right": lambda _: {"why": "looking for what is not mine"},
    "answer_right": lambda _: {"outcome": "done", "answer": "looking for what is not mine"},
    "restrict_person": lambda _: {"restricted": True},
    "give_consent": lambda _: {"purpose": "live_access", "shown_digest": "0" * 64},
    "withdraw_consent": lambda _: {"purpose": "live_access"},
    "close_review": lambda _: {"note": "looking for what is not mine"},
    "lift_quarantine": lambda _: {"grants": "end"},
    "confirm_database": lambda _: {"cluster": "1"},
    "confirm_server": lambda _: {"cluster": "1"},
    "replace_database_password": lambda _: {"sealed_password": SERVER["sealed_password"]},
    "replace_server_password": lambda _: {"sealed_password": SERVER["sealed_password"]},
    "record_breach": lambda _: {
        "said": "looking for what is not mine",
        "things": ["none"],
        **dict.fromkeys(("since", "until", "known_at"), "2026-01-01T00:00:00Z"),
    },
    "notify_breach": lambda _: {"reference": "none"},
    "tell_breach": lambda _: {"text": "it is not mine to tell"},
    "confirm_retention": lambda _: {"digest": "0" * 64},
    "add_recipient": lambda _: {
        "kind": "third_party",
        **dict.fromkeys(("name", "use", "data"), "Nobody"),
        "country": "FR",
    },
    "record_order": lambda _: dict.fromkeys(
        ("authority", "reference", "legal_ground", "asked"), "none"
    ),
    "contest_order": lambda _: {"why": "it is not mine to contest"},
    "declare_backup": lambda ids: {
        "database": ids["database_id"],
        "runner": ids["person_id"],
        "host": "local",
        "every_s": 86400,
        "opens": "00:00",
        "closes": "00:00",
        "longest_s": 3600,
        "place": "somewhere of mine",
        "keep_days": 1,
    },
    "begin_backup_run": lambda _: {"verifier": VERIFIER},
    "report_backup_run": lambda _: {"outcome": "failed"},
    "ask_restore": lambda ids: {
        "ticket": ids["ticket_id"],
        "reason": "looking for what is not mine",
        "target": "a server of my own",
    },
    "hand_over": lambda ids: {
        "to": ids["order_id"],
        "what": "log",
        "reason": "looking for what is not mine",
    },
    "ask_hold": lambda _: {"reason": "looking for what is not mine", "days": 30},
    "attest_snapshot": lambda _: {"took": "nothing"},
    "ask_lease": lambda ids: {"grant": ids["grant_id"], "verifier": VERIFIER},
    "order_snapshot": lambda ids: {"grant": ids["grant_id"]},
}
QUERIES: dict[str, Callable[[Ids], str]] = {
    "list_people": lambda ids: f"?tenant={ids['tenant_id']}",
    "remove_person": lambda ids: f"?tenant={ids['tenant_id']}",
    "list_databases": lambda ids: f"?tenant={ids['tenant_id']}",
    "list_platforms": lambda ids: f"?tenant={ids['tenant_id']}",
    "list_webhooks": lambda ids: f"?tenant={ids['tenant_id']}",
    "list_directories": lambda ids: f"?tenant={ids['tenant_id']}",
    "list_identity_providers": lambda ids: f"?tenant={ids['tenant_id']}",
    "list_storages": lambda ids: f"?tenant={ids['tenant_id']}",
    "list_tickets": lambda ids: f"?tenant={ids['tenant_id']}",
    "list_grants": lambda ids: f"?tenant={ids['tenant_id']}",
    "list_standing": lambda ids: f"?tenant={ids['tenant_id']}",
    "list_reviews": lambda ids: f"?tenant={ids['tenant_id']}",
    "watch_leases": lambda ids: f"?tenant={ids['tenant_id']}&wait=0",
    "list_backups": lambda ids: f"?tenant={ids['tenant_id']}",
    "list_leases": lambda ids: f"?tenant={ids['tenant_id']}",
    "list_snapshots": lambda ids: f"?tenant={ids['tenant_id']}",
    "explain_acts": lambda ids: f"?about={ids['grant_id']}",
    "list_certificates": lambda ids: f"?tenant={ids['tenant_id']}",
    "prove_entry": lambda _: "?index=0",
    "prove_consistency": lambda _: "?old=0",
}
# About the person who asks, or the vendor's own: they name nothing of a tenant.
OWN = (
    {
        "get_me",
        "change_password",
        "get_mails",
        "choose_mails",
        "list_tokens",
        "create_token",
        "list_tenants",
        "list_preflights",
        "create_tenant",
    }
    | {*("list_servers", "register_server", "get_intake_key", "list_late", "look_at_ticket")}
    | {*("get_figures", "get_metrics")}
    | {
        "get_quarantine",
        "lift_quarantine",  # a quarantine is the broker's own
        *("list_all_purposes", "get_schemas"),  # the same for all
        "list_my_disclosures",
        *("export_me", "list_my_rights", "ask_for_right", "object_to_marketing"),
        *("list_rights", "take_in_right"),  # the vendor's
        *("list_recipients", "add_recipient", "list_orders"),
        *("get_notice", "list_processing", "list_breaches", "record_breach"),
        *("get_retention", "confirm_retention", "list_retention_runs"),
        *("list_improvement", "list_improvement_reports"),
        "withdraw_token_keys",  # and so are its keys
    }
)


@dataclass(frozen=True)
class Operation:
    name: str
    method: str
    path: str
    has_body: bool

    def send(self, api: Api, actor: Actor | None, ids: Ids) -> TestResponse:
        path = self.path.format_map(ids) + QUERIES.get(self.name, lambda _: "")(ids)
        body = BODIES[self.name](ids) if self.has_body else None
        return api.send(actor, self.method, path, body)


def operations() -> Iterator[Operation]:
    for path, methods in DOCUMENT["paths"].items():
        for method, described in methods.items():
            if method != "parameters" and described["security"]:
                has_body = "requestBody" in described
                name = described["operationId"]
                yield Operation(name, method.upper(), path.removeprefix("/api/v1"), has_body)


PUBLIC = {"sign_in", "accept_invitation"}


def made_up() -> Ids:
    """Ids of the right form of which nothing exists."""
    prefixes = {"grant": "grt", "lease": "lse", "snapshot": "snp", "certificate": "crt"}
    prefixes |= {"tenant": "tnt", "person": "psn", "token": "tok", "ticket": "tkt"}
    prefixes |= {"database": "dbs", "server": "srv", "decision": "dec", "quarantine": "qrt"}
    prefixes |= {"platform": "plt", "storage": "sto", "case": "rgt"}
    prefixes |= {"hold": "hld", "recipient": "rcp", "order": "ord", "breach": "brc"}
    prefixes |= {"standing": "sta", "backup": "bkp", "run": "bkr", "restore": "bks"}
    prefixes |= {"review": "rev"}
    prefixes |= {"provider": "idp", "directory": "dir", "webhook": "whk", "delivery": "whd"}
    prefixes |= {"delegation": "dlg", "colleague": "psn"}
    ids = {f"{noun}_id": new_id(prefix) for noun, prefix in prefixes.items()}
    ids["tile"] = "entries/000.p/1"
    return {**ids, "external_id": "T-none", "digest": "0" * 64, "soon": soon()}


def soon() -> str:
    return (datetime.now(UTC) + timedelta(days=7)).isoformat()


def make_one_of_each(world: World, api: Api) -> Ids:
    """A tenant with a live grant and login, and a copy destroyed and certified."""
    grant_id = world.approved()
    lease_id, _ = world.lease(grant_id)
    snapshot_id = world.order(grant_id)
    with world.as_(system("tests")) as tx:
        officer = add_person(tx, "privacy_officer", None)
    wanted = {"reason": "a dispute needs this as evidence", "days": 3}
    hold = api.post(officer, f"/snapshots/{snapshot_id}/holds", wanted)
    assert api.post(world.admin, f"/holds/{hold.json['id']}/refuse").json["state"] == "refused"
    world.work()
    assert api.post(world.admin, f"/snapshots/{snapshot_id}/destroy").status_code == 202
    for _ in range(2):
        world.work()
    sign_due(world.broker.database, world.ports.keys)  # what no login has had signed before
    decided = api.get(world.admin, f"/grants/{grant_id}/decisions").json["items"]
    integrate_all(world.broker.database, world.ports.keys)
    token_id = api.get(world.admin, "/tokens").json["items"][0]["id"]
    certificate = api.get(world.admin, f"/snapshots/{snapshot_id}?wait=10").json["certificate"]
    assert certificate
    with world.as_(system("tests")) as tx:
        keep(tx, certificate, world.tenant, (b"an answer", Stamped(datetime.now(UTC), "a third")))
    ticket = api.get(world.admin, "/tickets").json["items"][0]
    ids = {"grant_id": grant_id, "digest": world.grant(grant_id).asked_digest or "", "soon": soon()}
    given = api.post(world.admin, "/standing-approvals", BODIES["give_standing"](ids))
    assert given.status_code == 201, given.text
    with world.as_(system("tests")) as tx:
        colleague = add_person(tx, "auditor", world.tenant).person_id or ""
    ends_at = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    absence = {"delegate": colleague, "ends_at": ends_at}
    named = api.post(world.admin, f"/tenants/{world.tenant}/delegates", absence)
    said = BODIES["record_order"](ids)
    order = api.post(officer, f"/tenants/{world.tenant}/orders", said)
    assert order.status_code == 201, order.text
    added = api.post(officer, "/recipients", BODIES["add_recipient"](ids))
    backups = made_backup(world)
    breach = {**BODIES["record_breach"](ids), "until": "2026-01-02T00:00:00Z"}
    breached = api.post(officer, "/breaches", {**breach, "known_at": "2026-01-02T00:00:00Z"})
    assert breached.status_code == 201, breached.text
    return {
        **backups,
        "breach_id": breached.json["id"],
        "order_id": order.json["id"],
        "recipient_id": added.json["id"],
        "review_id": break_glass(world),
        "standing_id": given.json["id"],
        "soon": ids["soon"],
        "colleague_id": colleague,
        "delegation_id": named.json["items"][0]["id"],
        "tenant_id": world.tenant,
        "tile": "entries/000.p/1",
        "grant_id": grant_id,
        "lease_id": lease_id,
        "decision_id": decided[0]["id"],
        "snapshot_id": snapshot_id,
        "certificate_id": certificate,
        "person_id": world.admin.person_id or "",
        "token_id": token_id,
        "ticket_id": ticket["id"],
        "external_id": ticket["external_id"],
        "database_id": world.database_id,
        "server_id": world.server_id,
        "provider_id": register_service(world),
        "directory_id": register_directory(world),
        "webhook_id": register_webhook(world),
        "delivery_id": new_id("whd"),
        "platform_id": register(world).id,
        "storage_id": register_storage(world, "taken/"),
        "digest": world.grant(grant_id).asked_digest or "",
        "quarantine_id": new_id("qrt"),
        "hold_id": hold.json["id"],
        "case_id": api.post(world.admin, "/me/rights", {"kind": "access"}).json["id"],
    }


def made_backup(world: World) -> Ids:
    """A backup that was consented to, its run that was reported, and a restore that waits."""
    with world.as_(world.operator) as tx:
        program = Actor("vendor", "token", enrolling.add_service(tx, None, "nightly"))
        limits = {"every_s": 86400, "longest_s": 3600, "keep_days": 1}
        hours = {"host": "local", "opens": "00:00", "closes": "00:00", "place": "a bucket"}
        draft = Draft(world.database_id, program.person_id or "", **hours, **limits)
        backup_id = backup_plans.declare(tx, draft)
        plan = backup_plans.get(tx, backup_id)
    with world.as_(world.admin) as tx:
        shown = get_purpose(tx, REGULAR_BACKUPS).digest("en", plan.document())
        ledger.give(tx, runs.consent_to(plan), shown)
    with world.as_(program) as tx:
        run_id = runs.begin(tx, backup_id, VERIFIER, world.broker.queue)
        report = Report("done", 1, "0" * 64, "a bucket")
        runs.report(tx, run_id, report, world.broker.queue)
    asked = restores.Ask(world.ticket(), "a table was lost", "their own server", 1)
    with world.as_(world.operator) as tx:
        return {
            "backup_id": backup_id,
            "run_id": run_id,
            "restore_id": restores.ask(tx, run_id, asked),
        }


def test_the_only_open_operations_are_those_that_let_people_in() -> None:
    found = {
        described["operationId"]
        for methods in DOCUMENT["paths"].values()
        for method, described in methods.items()
        if method != "parameters" and not described["security"]
    }
    assert found == PUBLIC


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer brk_none"}, {"Cookie": "x=1"}])
def test_no_operation_answers_without_a_token(api: Api, headers: dict[str, str]) -> None:
    client, ids = api.app.test_client(), made_up()
    for operation in operations():
        path = operation.path.format_map(ids)
        answer = client.open(f"/api/v1{path}", method=operation.method, headers=headers)
        assert answer.status_code == 401, operation
        assert answer.mimetype == "application/problem+json"
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_another_tenants_things_can_not_be_told_from_nothing(api: Api) -> None:
    """G12: the same answer, byte for byte, as for an id of which nothing exists."""
    world = api.world
    real = make_one_of_each(world, api)
    other, admin = enrol(world, "Other tenant")
    with world.as_(system("tests")) as tx:
        auditor = add_person(tx, "auditor", other)
    names = {operation.name for operation in operations()}
    assert set(BODIES) | set(QUERIES) | OWN <= names
    for actor in (admin, auditor):
        for operation in operations():
            answer = operation.send(api, actor, real)
            nothing = operation.send(api, actor, made_up())
            if operation.name not in OWN:
                assert answer.status_code in {403, 404}, (operation, answer.text)
                assert answer.data == nothing.data, operation
            assert answer.status_code == nothing.status_code, operation
            public = {real["recipient_id"]}  # the register of recipients is the same for all
            hidden = set(real.values()) - public
            told = [value for value in hidden if value.encode() in answer.data]
            assert not told, (operation, told)


def test_lists_without_a_filter_hold_nothing_of_another_tenant(api: Api) -> None:
    world = api.world
    real = make_one_of_each(world, api)
    _, admin = enrol(world, "Other tenant")
    for noun in ("tenants", "tickets", "grants", "leases", "snapshots", "certificates"):
        mine = api.get(world.admin, f"/{noun}").json
        theirs = api.get(admin, f"/{noun}")
        assert any(item["id"] in real.values() for item in mine["items"]), noun
        assert not [value for value in real.values() if value in theirs.text], noun
        by_grant = api.get(admin, f"/leases?grant={real['grant_id']}")
        assert by_grant.data == api.get(admin, f"/leases?grant={made_up()['grant_id']}").data


def test_no_answer_holds_a_secret(api: Api) -> None:
    """All that can be read, by those who may, against what the tables keep secret."""
    world = api.world
    with world.as_(system("tests")) as tx:
        signin.set_password(tx, world.admin.person_id, Secret("a long password"))
    ids = make_one_of_each(world, api)
    kept = _kept_secrets(world)
    assert len(kept) > 5
    for actor in (world.admin, world.engineer, world.operator):
        for operation in operations():
            if operation.method == "GET":
                answer = operation.send(api, actor, ids).data.decode(errors="replace")
                assert not [secret for secret in kept if secret in answer], operation


def _kept_secrets(world: World) -> set[str]:
    queries = (
        "SELECT password_hash FROM person WHERE password_hash IS NOT NULL",
        "SELECT verifier FROM lease WHERE verifier IS NOT NULL",
        "SELECT sealed_password FROM tenant_database",
        "SELECT sealed_password FROM test_server",
        "SELECT next_sealed_password FROM test_server WHERE next_sealed_password IS NOT NULL",
        "SELECT token_digest FROM api_token",
        "SELECT secret_digest FROM platform",
        "SELECT wrapped_key FROM snapshot WHERE wrapped_key IS NOT NULL",
    )
    with world.as_(system("tests")) as tx:
        found = [row[0] for query in queries for row in tx.session.execute(sa.text(query))]
    secrets: set[str] = set()
    for value in found:
        if isinstance(value, str):
            secrets.add(value)
        else:
            raw = bytes(value)
            secrets |= {raw.hex(), base64.b64encode(raw).decode()}
    return secrets


LOG = (
    "export_log",
    "list_entries",
    "list_events",
    "get_checkpoint",
    "mail_checkpoint",
    "get_tile",
    "prove_entry",
    "get_slot",
    "prove_consistency",
)
STORAGES = ("register_storage", "remove_storage")
PLATFORMS = (
    *STORAGES,
    *("register_platform", "replace_platform_secret", "remove_platform"),
    "withdraw_token_keys",
)
# A privacy officer's alone.
THIRD_PARTIES = (
    *("list_processing", "list_breaches", "record_breach", "notify_breach", "tell_breach"),
    "confirm_retention",
    *("add_recipient", "end_recipient", "list_orders", "record_order"),
    *("confirm_order", "contest_order", "hand_over"),
)
# What a role must not do where it may look; what it may do is in the other tests.
DENIED = {
    "engineer": (
        *("announce_departure", "cancel_departure", "close_departure", "export_tenant"),
        *("remove_database", "remove_server"),
        *THIRD_PARTIES,
        "list_handovers",
        "list_tenant_orders",
        *PLATFORMS,
        *LOG,
        *("approve_grant", "refuse_grant", "create_tenant", "identify_tenant", "list_preflights"),
        *("set_copies_quota", "set_server_capacity"),
        *("register_database", "register_server", "list_people", "add_person", "remove_person"),
        *("get_figures", "get_metrics"),
        *("disable_person", "list_late", "end_everything", "get_quarantine", "lift_quarantine"),
        *("confirm_database", "confirm_server", "rotate_database_login", "rotate_server_login"),
        *("replace_database_password", "replace_server_password"),
        *("check_database", "check_server", "get_database_preflight", "get_server_preflight"),
        *("register_logins", "release_database", "get_release", "allow_drills", "order_drill"),
        *("get_approval_policy", "set_approval_policy", "confirm_approval_policy"),
        *("ask_hold", "agree_hold", "refuse_hold", "lift_hold"),
        *("list_standing", "get_standing", "get_standing_plan"),
        "close_review",
        *("give_standing", "agree_to_standing", "end_standing"),
        *("list_delegates", "name_delegate", "end_delegation"),
        *("give_consent", "withdraw_consent"),
        *("list_rights", "take_in_right", "extend_right", "answer_right", "restrict_person"),
        "get_erasure",
        *("declare_backup", "end_backup", "begin_backup_run", "report_backup_run"),
        *("report_backup_gone", "allow_restore", "refuse_restore", "use_restore"),
    ),
    "operator": (
        "export_tenant",
        *THIRD_PARTIES,
        "list_handovers",
        "list_tenant_orders",
        "attest_snapshot",
        *("register_logins", "allow_drills"),
        *("list_standing", "get_standing", "give_standing", "agree_to_standing", "end_standing"),
        *("list_reviews", "get_review", "close_review"),
        *("give_consent", "withdraw_consent"),
        *("list_rights", "take_in_right", "extend_right", "answer_right", "restrict_person"),
        "get_erasure",
        *("list_delegates", "name_delegate", "end_delegation"),
        *LOG,
        *("approve_grant", "refuse_grant", "end_grant", "end_everything"),
        *("request_grant", "ask_lease", "order_snapshot", "get_plan", "end_lease"),
        *("watch_leases", "pause_lease", "resume_lease", "pause_grant", "resume_grant"),
        *("begin_backup_run", "report_backup_run", "report_backup_gone"),
        *("allow_restore", "refuse_restore"),
        *("ask_hold", "agree_hold", "refuse_hold", "lift_hold"),
        *("get_certificate", "get_envelope", "get_timestamp", "list_certificates"),
        *("add_person", "remove_person"),
    ),
    "admin": (
        "remove_server",
        *("identify_tenant", "set_copies_quota", "set_server_capacity"),
        *THIRD_PARTIES,
        *PLATFORMS,
        *("ask_session", "fetch_session"),
        *("request_grant", "ask_lease", "order_snapshot", "register_database", "list_servers"),
        *("check_server", "get_server_preflight", "get_quarantine", "lift_quarantine"),
        *("confirm_database", "confirm_server", "rotate_database_login", "rotate_server_login"),
        *("replace_database_password", "replace_server_password"),
        *("ask_hold", "attest_snapshot"),
    ),
    "auditor": (
        *("announce_departure", "cancel_departure", "close_departure", "export_tenant"),
        *("remove_database", "remove_server"),
        *("identify_tenant", "set_copies_quota", "set_server_capacity"),
        *THIRD_PARTIES,
        "attest_snapshot",
        *PLATFORMS,
        *("ask_session", "fetch_session"),
        "close_review",
        *("approve_grant", "refuse_grant", "end_grant", "end_lease", "destroy_snapshot"),
        *("end_everything", "add_person", "remove_person", "disable_person", "ask_lease"),
        *("check_database", "get_database_preflight", "check_server", "get_server_preflight"),
        *("set_approval_policy", "confirm_approval_policy", "release_database", "get_release"),
        *("pause_lease", "resume_lease", "pause_grant", "resume_grant"),
        *("allow_drills", "order_drill"),
        *("ask_hold", "agree_hold", "refuse_hold", "lift_hold"),
        *("give_standing", "agree_to_standing", "end_standing"),
        *("name_delegate", "end_delegation"),
        *("give_consent", "withdraw_consent"),
        *("list_rights", "take_in_right", "extend_right", "answer_right", "restrict_person"),
        "get_erasure",
    ),
}


def test_a_role_does_no_more_than_its_own(api: Api) -> None:
    world = api.world
    ids = make_one_of_each(world, api)
    with world.as_(system("tests")) as tx:
        auditor = add_person(tx, "auditor", world.tenant)
    roles = {"engineer": world.engineer, "operator": world.operator, "admin": world.admin}
    by_name = {operation.name: operation for operation in operations()}
    for role, actor in {**roles, "auditor": auditor}.items():
        for name in DENIED[role]:
            answer = by_name[name].send(api, actor, ids)
            assert answer.status_code == 403, (role, name, answer.text)
    assert world.grant(ids["grant_id"]).state == "approved"
