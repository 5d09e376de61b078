"""`docs/parity.md`: each act of the console, with its API operation and its command.

    python -m tests.parity > docs/parity.md

The two tables below say what belongs together; `tests/test_parity.py` fails on a page, operation or
command that is missing in them, and on one that does not do what the table says: a page and its
operation must call one function of the domain, a command must send what the operation takes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import click
from flask import Blueprint, Flask

from broker import http  # noqa: F401  # first: the console's pages import from it
from broker.api import BLUEPRINTS, IdConverter, describe
from broker.cli import cli
from broker.web import PARTS

PAGE = Path(__file__).parents[1] / "docs" / "parity.md"
COMMAND = "python -m tests.parity > docs/parity.md"


class Only(str):
    """Why something has no counterpart."""

    __slots__ = ()


_BROWSER = Only("a browser's own: its session")
_PASSKEY = Only("passkeys are a browser's; the API has tokens, named and ended by `broker tokens`")
_DEVICE = Only("a person lets a command line in: `broker login` asks for it")
_CODES = Only(
    "an authenticator app is set up on a page, which shows its key once; `login` takes it"
)
_STEP = Only("a step before an act, which shows what the act's own answers hold")

# Endpoint of the console -> operations of the API.
PAGES: Mapping[str, tuple[str, ...] | Only] = {
    "account.show_sign_in": _BROWSER,
    "account.sign_in": ("sign_in",),
    "account.sign_out": Only(
        "`DELETE /tokens/{id}`, `broker logout`: a token in place of a session"
    ),
    "account.show_invitation": _BROWSER,
    "account.choose_language": _BROWSER,
    "account.accept_invitation": ("accept_invitation",),
    "home.show": (
        *("list_grants", "list_leases", "list_snapshots", "list_tenants"),
        *("list_late", "list_reviews"),
    ),
    "home.show_late": ("list_late", "get_figures", "get_quarantine"),
    "home.lift": ("lift_quarantine",),
    "home.ask_end_everything": ("get_tenant", "list_grants"),
    "home.end_everything": ("end_everything",),
    "home.ask_end_person": _STEP,
    "home.end_person": ("end_access_of_person",),
    "grants.show": (*("get_grant", "get_plan", "list_leases", "list_snapshots", "list_decisions"),),
    "grants.approve": ("approve_grant",),
    "grants.refuse": ("refuse_grant",),
    "grants.end": ("end_grant",),
    "grants.order_copy": ("order_snapshot",),
    "grants.pause": ("pause_grant",),
    "grants.resume": ("resume_grant",),
    "grants.pause_lease": ("pause_lease",),
    "grants.resume_lease": ("resume_lease",),
    "grants.end_lease": ("end_lease",),
    "grants.statement": ("get_decision_envelope",),
    "new_request.choose_ticket": ("list_tickets",),
    "new_request.show_form": ("list_databases", "list_platforms", "list_storages"),
    "new_request.ask": ("request_grant",),
    "copies.list_all": ("list_snapshots",),
    "copies.show": ("get_snapshot", "list_holds"),
    "copies.attest": ("attest_snapshot",),
    "copies.destroy": ("destroy_snapshot",),
    "webhooks.list_all": ("list_webhooks",),
    "webhooks.register": ("register_webhook",),
    "webhooks.show": ("get_webhook", "list_deliveries"),
    "webhooks.replace_secret": ("replace_webhook_secret",),
    "webhooks.remove": ("remove_webhook",),
    "webhooks.replay": ("replay_delivery",),
    "directories.register": ("register_directory",),
    "directories.replace_token": ("replace_directory_token",),
    "directories.remove": ("remove_directory",),
    "identity.list_all": ("list_identity_providers", "list_directories"),
    "identity.register": ("register_identity_provider",),
    "identity.show": ("get_identity_provider", "list_identity_links"),
    "identity.change": ("change_identity_provider",),
    "identity.check": ("check_identity_provider",),
    "identity.remove": ("remove_identity_provider",),
    "identity.unlink": ("end_identity_link",),
    "organisation.start": _BROWSER,
    "organisation.accept": _BROWSER,
    "organisation.link": _BROWSER,
    "organisation.confirm": _BROWSER,
    "organisation.answer": _BROWSER,
    "holds.ask": ("ask_hold",),
    "holds.agree": ("agree_hold",),
    "holds.refuse": ("refuse_hold",),
    "holds.lift": ("lift_hold",),
    "records.list_all": ("list_certificates",),
    "records.show_certificate": ("get_certificate",),
    "records.download_certificate": ("get_envelope",),
    "records.download_pdf": ("get_pdf",),
    "records.download_timestamp": ("get_timestamp",),
    "records.show_log": ("list_entries",),
    "records.download_bundle": ("export_log",),
    "records.download_proof": ("prove_entry",),
    "records.download_events": ("list_events",),
    "records.find_events": ("list_events",),
    "preflights.list_all": ("list_preflights",),
    "preflights.show": ("get_database_preflight", "get_server_preflight"),
    "preflights.check": ("check_database", "check_server"),
    "policies.show": ("get_approval_policy",),
    "policies.change": ("set_approval_policy",),
    "policies.confirm": ("confirm_approval_policy",),
    "delegates.show": ("list_delegates",),
    "delegates.name": ("name_delegate",),
    "delegates.end": ("end_delegation",),
    "databases.list_all": ("list_databases", "list_platforms", "list_storages", "list_servers"),
    "registered.register_platform": ("register_platform",),
    "registered.show_platform": ("get_platform",),
    "registered.replace_secret": ("replace_platform_secret",),
    "registered.remove_platform": ("remove_platform",),
    "registered.register_storage": ("register_storage",),
    "registered.show_storage": ("get_storage",),
    "registered.remove_storage": ("remove_storage",),
    "departures.show": ("get_departure",),
    "departures.announce": ("announce_departure",),
    "departures.cancel": ("cancel_departure",),
    "departures.close": ("close_departure",),
    "departures.export": ("export_tenant",),
    "registered.remove_server": ("remove_server",),
    "databases.remove": ("remove_database",),
    "registered.register_server": ("register_server",),
    "registered.set_capacity": ("set_server_capacity",),
    "registered.show_server": ("get_server",),
    "registered.rotate_server": ("rotate_server_login",),
    "registered.replace_password": ("replace_server_password",),
    "registered.confirm_server": ("confirm_server",),
    "databases.show": ("get_database", "list_drills", "get_release"),
    "databases.order_drill": ("order_drill",),
    "databases.allow_drills": ("allow_drills",),
    "databases.release": ("release_database",),
    "databases.rotate": ("rotate_database_login",),
    "databases.confirm": ("confirm_database",),
    "glass.show": ("watch_leases",),
    "standing.list_all": ("list_standing",),
    "standing.show": ("get_standing", "get_standing_plan"),
    "set_up.show": Only("a look over what other operations and `broker doctor` say one by one"),
    "standing.show_form": _STEP,
    "standing.give": ("give_standing",),
    "standing.agree": ("agree_to_standing",),
    "standing.end": ("end_standing",),
    "reviews.close": ("close_review",),
    "rights.show": ("list_my_rights", "list_my_disclosures"),
    "contacts.list_all": ("list_contacts",),
    "contacts.show": ("show_contact",),
    "contacts.write": ("write_to_contact",),
    "rights.export": ("export_me",),
    "rights.ask": ("ask_for_right",),
    "rights.object_to_marketing": ("object_to_marketing",),
    "rights.list_all": ("list_rights",),
    "rights.extend": ("extend_right",),
    "rights.answer": ("answer_right",),
    "registers.show_notice": ("get_notice",),
    "registers.show_processing": ("list_processing",),
    "registers.list_breaches": ("list_breaches",),
    "registers.record": ("record_breach",),
    "registers.notify": ("notify_breach",),
    "registers.tell": ("tell_breach",),
    "retention.show": ("get_retention", "list_retention_runs"),
    "retention.confirm": ("confirm_retention",),
    "retention.show_improvement": ("list_improvement", "list_improvement_reports"),
    "recipients.list_all": ("list_recipients", "list_orders"),
    "recipients.add": ("add_recipient",),
    "recipients.end": ("end_recipient",),
    "recipients.show": ("list_handovers", "list_tenant_orders"),
    "recipients.hand_over": ("hand_over",),
    "recipients.record": ("record_order",),
    "recipients.confirm": ("confirm_order",),
    "recipients.contest": ("contest_order",),
    "backups.list_all": ("list_backups", "list_restores"),
    "backups.declare": ("declare_backup",),
    "backups.show": ("get_backup", "list_backup_runs", "get_backup_setup"),
    "backups.end": ("end_backup",),
    "backups.ask_restore": ("ask_restore",),
    "backups.allow": ("allow_restore",),
    "backups.refuse": ("refuse_restore",),
    "consents.show": ("list_consents", "list_consent_acts", "list_all_purposes"),
    "consents.give": ("give_consent",),
    "consents.withdraw": ("withdraw_consent",),
    "grants.ask_approval": _PASSKEY,
    "grants.ask_refusal": _PASSKEY,
    "passkeys.show": ("get_mails",),
    "passkeys.choose_mails": ("choose_mails",),
    "devices.show": _DEVICE,
    "devices.find": _DEVICE,
    "devices.approve": _DEVICE,
    "devices.refuse": _DEVICE,
    "codes.begin": _CODES,
    "codes.confirm": _CODES,
    "codes.renew": _CODES,
    "codes.remove": _CODES,
    "passkeys.ask_registration": _PASSKEY,
    "passkeys.register": _PASSKEY,
    "passkeys.rename": _PASSKEY,
    "passkeys.remove": _PASSKEY,
    "passkeys.ask_sign_in": _PASSKEY,
    "passkeys.sign_in": _PASSKEY,
    "passkeys.end_session": _BROWSER,
    "stepup.show": _BROWSER,
    "stepup.confirm": _BROWSER,
    "stepup.ask": _PASSKEY,
}

# Operation of the API -> command.
COMMANDS: Mapping[str, str | Only] = {
    "sign_in": "login",
    "accept_invitation": "accept-invitation",
    "get_me": "whoami",
    "change_password": "password",
    "get_mails": "mails",
    "choose_mails": "mails",
    "list_tokens": "tokens list",
    "create_token": "tokens create",
    "rotate_token": "tokens rotate",
    "end_token": "tokens end",
    "add_service": "services create",
    "list_service_tokens": "services tokens",
    "create_service_token": "services create-token",
    "end_service_token": "services end-token",
    "list_people": "people list",
    "add_person": "people add",
    "remove_person": "people remove",
    "disable_person": "people disable",
    "erase_person": "people erase",
    "end_access_of_person": "people end-access",
    "list_tenants": "tenants list",
    "create_tenant": "tenants create",
    "identify_tenant": "tenants identify",
    "set_copies_quota": "tenants limit",
    "get_tenant": "tenants show",
    "list_keys": "tenants pin",
    "end_everything": "tenants end-everything",
    "export_log": "log export",
    "list_entries": "log show",
    "get_schemas": "log schemas",
    "list_events": "log events",
    "get_checkpoint": "log check",
    "mail_checkpoint": "log mail",
    "prove_consistency": "log check",
    "get_slot": "tenants pin",
    "prove_entry": "log prove",
    "get_tile": Only("programs that read the log as C2SP tiles; people have `broker log prove`"),
    "list_databases": "databases list",
    "register_database": "databases create",
    "get_database": "databases show",
    "register_logins": "databases know",
    "register_standbys": "databases standbys",
    "release_database": "databases release",
    "get_release": "databases release",
    "confirm_database": "databases confirm",
    "rotate_database_login": "databases rotate",
    "replace_database_password": "databases password",
    "allow_drills": "databases allow-drills",
    "order_drill": "databases drill",
    "list_drills": "databases drills",
    "list_servers": "servers list",
    "register_server": "servers create",
    "get_server": "servers show",
    "set_server_capacity": "servers limit",
    "confirm_server": "servers confirm",
    "rotate_server_login": "servers rotate",
    "replace_server_password": "servers password",
    "get_intake_key": "databases create",
    "list_late": "health",
    "get_figures": "figures",
    "get_metrics": Only("a monitoring system scrapes it; people have `broker figures`"),
    "list_preflights": "preflights list",
    "check_database": "databases check",
    "check_server": "servers check",
    "get_database_preflight": "preflights show",
    "get_server_preflight": "preflights show",
    "list_tickets": "tickets list",
    "look_at_ticket": "tickets look",
    "list_grants": "grants list",
    "request_grant": "grants request",
    "get_grant": "grants show",
    "get_plan": "grants plan",
    "approve_grant": "grants approve",
    "refuse_grant": "grants refuse",
    "end_grant": "grants end",
    "pause_grant": "grants pause",
    "resume_grant": "grants resume",
    "list_decisions": "grants decisions",
    "get_decision_envelope": "grants decision",
    "list_leases": "leases list",
    "ask_lease": "connect",
    "get_lease": "leases show",
    "end_lease": "leases end",
    "pause_lease": "leases pause",
    "resume_lease": "leases resume",
    "get_end_envelope": "leases statement",
    "watch_leases": "leases watch",
    "list_snapshots": "snapshots list",
    "order_snapshot": "snapshots order",
    "get_snapshot": "snapshots show",
    "reset_snapshot": "snapshots reset",
    "attest_snapshot": "snapshots done",
    "destroy_snapshot": "snapshots destroy",
    "list_holds": "holds list",
    "ask_hold": "holds ask",
    "agree_hold": "holds agree",
    "refuse_hold": "holds refuse",
    "lift_hold": "holds lift",
    "list_certificates": "certificates list",
    "get_certificate": "certificates show",
    "get_envelope": "certificates get",
    "get_pdf": "certificates get",
    "get_timestamp": "certificates get",
    "get_revocation": "certificates get",
    "get_approval_policy": "policy show",
    "set_approval_policy": "policy set",
    "confirm_approval_policy": "policy confirm",
    "list_delegates": "delegates list",
    "name_delegate": "delegates name",
    "end_delegation": "delegates end",
    "get_quarantine": "quarantine show",
    "lift_quarantine": "quarantine lift",
    "list_webhooks": "webhooks list",
    "register_webhook": "webhooks create",
    "get_webhook": "webhooks show",
    "replace_webhook_secret": "webhooks replace-secret",
    "remove_webhook": "webhooks remove",
    "list_deliveries": "webhooks deliveries",
    "replay_delivery": "webhooks replay",
    "list_directories": "directories list",
    "register_directory": "directories create",
    "replace_directory_token": "directories replace-token",
    "remove_directory": "directories remove",
    "list_identity_providers": "identity-providers list",
    "register_identity_provider": "identity-providers create",
    "get_identity_provider": "identity-providers show",
    "change_identity_provider": "identity-providers change",
    "check_identity_provider": "identity-providers check",
    "remove_identity_provider": "identity-providers remove",
    "list_identity_links": "identity-providers links",
    "end_identity_link": "identity-providers unlink",
    "list_platforms": "platforms list",
    "register_platform": "platforms create",
    "get_platform": "platforms show",
    "replace_platform_secret": "platforms replace-secret",
    "remove_platform": "platforms remove",
    "remove_database": "databases remove",
    "remove_server": "servers remove",
    "get_departure": "departures show",
    "announce_departure": "departures announce",
    "cancel_departure": "departures cancel",
    "close_departure": "departures close",
    "export_tenant": "departures export",
    "withdraw_token_keys": "platforms withdraw-keys",
    "list_storages": "storages list",
    "register_storage": "storages create",
    "get_storage": "storages show",
    "remove_storage": "storages remove",
    "ask_session": "storages session",
    "fetch_session": "storages session",
    "list_standing": "standing list",
    "give_standing": "standing give",
    "get_standing": "standing show",
    "get_standing_plan": "standing plan",
    "agree_to_standing": "standing agree",
    "end_standing": "standing end",
    "list_reviews": "reviews list",
    "get_review": "reviews show",
    "close_review": "reviews close",
    "list_contacts": "tickets contacts",
    "show_contact": "tickets contact",
    "write_to_contact": "tickets write",
    "list_my_disclosures": "rights shown",
    "get_notice": "notice",
    "list_processing": "processing",
    "list_breaches": "breaches list",
    "record_breach": "breaches record",
    "notify_breach": "breaches notify",
    "tell_breach": "breaches tell",
    "get_retention": "retention due",
    "confirm_retention": "retention confirm",
    "list_retention_runs": "retention runs",
    "list_improvement": "improvement list",
    "list_improvement_reports": "improvement reports",
    "list_backups": "backups list",
    "declare_backup": "backups declare",
    "get_backup": "backups show",
    "get_backup_setup": "backups setup",
    "end_backup": "backups end",
    "list_backup_runs": "backups runs",
    "begin_backup_run": "backups run",
    "get_backup_run": "backups run",
    "report_backup_run": "backups report",
    "report_backup_gone": "backups gone",
    "ask_restore": "restores ask",
    "list_restores": "restores list",
    "allow_restore": "restores allow",
    "refuse_restore": "restores refuse",
    "use_restore": "restores use",
    "list_recipients": "recipients list",
    "add_recipient": "recipients add",
    "end_recipient": "recipients end",
    "list_handovers": "recipients handovers",
    "hand_over": "recipients hand-over",
    "list_orders": "orders list",
    "list_tenant_orders": "orders list",
    "record_order": "orders record",
    "confirm_order": "orders confirm",
    "contest_order": "orders contest",
    "export_me": "rights export",
    "export_person": "rights export",
    "list_my_rights": "rights mine",
    "ask_for_right": "rights ask",
    "object_to_marketing": "rights object-to-marketing",
    "list_rights": "rights list",
    "take_in_right": "rights take-in",
    "extend_right": "rights extend",
    "answer_right": "rights answer",
    "restrict_person": "rights restrict",
    "get_erasure": "rights erasure",
    "list_all_purposes": "consents purposes",
    "list_consents": "consents list",
    "give_consent": "consents give",
    "withdraw_consent": "consents withdraw",
    "list_consent_acts": "consents acts",
    "explain_acts": "consents why",
}

HEAD = f"""# The console, the API and the command line

Everything that a page does, the API and the command line do, in the same words. Made from the code
by `{COMMAND}`; a test fails on a hole, and when this page is not current.
"""


@dataclass(frozen=True, slots=True)
class Page:
    """An act of the console: `POST /grants/<grant_id>/approve`, and the view behind it."""

    name: str
    route: str


@dataclass(frozen=True, slots=True)
class Operation:
    name: str
    method: str
    path: str

    @property
    def words(self) -> frozenset[str]:
        """The fixed parts of its path."""
        parts = self.path.removeprefix("/api/v1/").split("/")
        return frozenset(part for part in parts if not part.startswith("{"))


def console() -> Flask:
    app = Flask("parity")
    app.url_map.converters["id"] = IdConverter
    blueprint = Blueprint("console", __name__)
    for part in PARTS:
        blueprint.register_blueprint(part.pages)
    app.register_blueprint(blueprint)
    return app


def list_pages() -> Iterator[Page]:
    """Every address of the console but the fragments, which pages fetch again of themselves."""
    for rule in console().url_map.iter_rules():
        path = rule.rule.replace("<id:", "<")
        if not path.startswith("/fragments/") and rule.endpoint.startswith("console."):
            method = "POST" if "POST" in (rule.methods or ()) else "GET"
            method = "GET" if "GET" in (rule.methods or ()) else method
            yield Page(rule.endpoint.removeprefix("console."), f"{method} {path}")


def list_operations() -> Iterator[Operation]:
    assert BLUEPRINTS
    for path, methods in describe(Flask("parity"))["paths"].items():
        for method, described in methods.items():
            if method != "parameters":
                yield Operation(described["operationId"], method.upper(), path)


def find_command(words: str) -> click.Command | None:
    found: click.Command | None = cli
    context = click.Context(cli)
    for word in words.split():
        assert isinstance(found, click.Group), words
        found = found.get_command(context, word)
        if found is None:
            return None
    return found


def make_page() -> str:
    operations = {operation.name: operation for operation in list_operations()}
    on_pages = {name for names in PAGES.values() if isinstance(names, tuple) for name in names}
    lines = [HEAD, "| page | API, under `/api/v1` | command |", "|---|---|---|"]
    for page in sorted(list_pages(), key=lambda page: page.route.partition(" ")[2]):
        names = PAGES[page.name]
        if isinstance(names, Only):
            lines.append(f"| `{page.route}` | {names} | |")
            continue
        routes = "<br>".join(_route(operations[name]) for name in names)
        commands = "<br>".join(dict.fromkeys(_command(name) for name in names))
        lines.append(f"| `{page.route}` | {routes} | {commands} |")
    lines += ["", "## Without a page", "", "| API | command |", "|---|---|"]
    lines += [
        f"| {_route(operation)} | {_command(name)} |"
        for name, operation in operations.items()
        if name not in on_pages
    ]
    return "\n".join(lines) + "\n"


def _route(operation: Operation) -> str:
    return f"`{operation.method} {operation.path.removeprefix('/api/v1')}`"


def _command(name: str) -> str:
    command = COMMANDS[name]
    return str(command) if isinstance(command, Only) else f"`broker {command}`"


if __name__ == "__main__":
    sys.stdout.write(make_page())
