"""Regular backups: declared, run, reported; and restores."""

from __future__ import annotations

from marshmallow import fields, validate

from broker import lifecycle, people
from broker.api.operations import acting, new_blueprint, operation, the_broker
from broker.api.shapes import Answer, Sent, WaitQuery, identity, list_of, text, whole
from broker.api.waiting import act_and_wait, wait_for
from broker.backups import queries, restores, rules, runs
from broker.backups.queries import BackupView, RestoreView, RunView
from broker.backups.restores import Ask
from broker.backups.runs import OutsideHours, Report
from broker.consents import backup_plans
from broker.consents.backup_plans import KINDS, Draft
from broker.db import Json
from broker.ids import TenantId
from broker.tx import Tx

blueprint = new_blueprint("backups", "Regular backups")


class BackupQuery(Sent):
    tenant = identity("tnt", required=False)


class BackupBody(Sent):
    database = identity("dbs", data_key="database", attribute="database_id")
    runner = identity(
        "psn", attribute="runner_id", metadata={"description": "the account of the program"}
    )
    host = text(60, metadata={"description": "from where it connects: address, network or `local`"})
    kind = fields.String(load_default="dump", validate=validate.OneOf(KINDS))
    every_s = fields.Integer(strict=True, required=True)
    opens = text(5, metadata={"description": "its runs begin from then on: HH:MM, UTC"})
    closes = text(5, metadata={"description": "and before then; the same as `opens`: all day"})
    longest_s = fields.Integer(strict=True, required=True)
    connections = fields.Integer(strict=True, load_default=2)
    place = text(400, metadata={"description": "where its backups lie"})
    keep_days = fields.Integer(strict=True, required=True)


class BackupAnswer(Answer):
    id = fields.String()
    tenant = fields.String(attribute="tenant_id")
    database = fields.String(attribute="database_id")
    database_name = fields.String(attribute="database")
    kind = fields.String()
    runner = fields.String(attribute="runner_id")
    runner_name = fields.String(attribute="runner")
    host = fields.String()
    every_s = fields.Integer()
    hours = fields.String(metadata={"description": "in which its runs begin, UTC"})
    longest_s = fields.Integer()
    connections = fields.Integer()
    place = fields.String()
    keep_days = fields.Integer()
    declared_at = fields.AwareDateTime()
    ended_at = fields.AwareDateTime(allow_none=True)
    state = fields.String(
        metadata={"description": "`waiting` for the customer's consent, `on`, or `ended`"}
    )
    last_good = fields.AwareDateTime(allow_none=True)


class BackupSetupAnswer(Answer):
    sql = fields.String(metadata={"description": "what the DBA runs once, and pg_hba.conf's lines"})


class RunBody(Sent):
    verifier = text(
        1000,
        metadata={"description": "SCRAM-SHA-256 verifier of a password that stays with the client"},
    )


class ReportBody(Sent):
    outcome = fields.String(required=True, validate=validate.OneOf(["done", "failed"]))
    bytes = fields.Integer(strict=True, validate=validate.Range(0, 2**62))
    digest = fields.String(
        validate=validate.Regexp(r"\A[0-9a-f]{64}\Z"),
        metadata={"description": "SHA-256 of those bytes, hexadecimal"},
    )
    place = text(400, required=False)
    keep_days = fields.Integer(strict=True, validate=validate.Range(1, 3660))


class BackupRunAnswer(Answer):
    id = fields.String()
    backup = fields.String(attribute="backup_id")
    tenant = fields.String(attribute="tenant_id")
    state = fields.String(metadata={"description": "of its login, as a lease's"})
    state_at = fields.AwareDateTime()
    asked_at = fields.AwareDateTime()
    ends_at = fields.AwareDateTime()
    role = fields.String()
    host = fields.String()
    port = fields.Integer()
    dbname = fields.String()
    reported_at = fields.AwareDateTime(allow_none=True)
    outcome = fields.String(allow_none=True)
    bytes = fields.Integer(allow_none=True)
    digest = fields.String(allow_none=True)
    place = fields.String(allow_none=True)
    expires_at = fields.AwareDateTime(allow_none=True)
    gone_at = fields.AwareDateTime(allow_none=True)
    report = fields.String(
        metadata={"description": "`none`, `failed`, `kept`, `overdue` (past its term) or `gone`"}
    )
    unusual = fields.List(
        fields.String(),
        metadata={
            "description": "what was not as declared: `host`, `program` or `volume`; each was told "
            "to both sides"
        },
    )
    end_reason = fields.String(allow_none=True)
    stuck_reason = fields.String(allow_none=True)


class RestoreBody(Sent):
    ticket = identity("tkt", attribute="ticket_id")
    reason = text(2000)
    target = text(2000, metadata={"description": "where it is to be put; the customer reads it"})
    hours = fields.Integer(strict=True, load_default=24)


class RestoreAnswer(Answer):
    id = fields.String()
    tenant = fields.String(attribute="tenant_id")
    run = fields.String(attribute="run_id")
    ticket = fields.String(attribute="ticket_id")
    state = fields.String(metadata={"description": "`asked`, `allowed`, `used` or `ended`"})
    state_at = fields.AwareDateTime()
    asked_by = fields.String()
    asked_by_name = fields.String()
    reason = fields.String()
    target = fields.String()
    hours = fields.Integer()
    asked_at = fields.AwareDateTime()
    ends_at = fields.AwareDateTime()
    digest = fields.String(
        allow_none=True, metadata={"description": "SHA-256 that the backup's bytes must have"}
    )


@operation(blueprint, "GET /backups", query=BackupQuery, answer=list_of(BackupAnswer))
def list_backups(tx: Tx, query: Json) -> Json:
    """Regular backups that were declared, and how each stands."""
    return whole(queries.list_backups(tx, query.get("tenant")))


@operation(blueprint, "POST /backups", takes=BackupBody, answer=BackupAnswer, status=201)
def declare_backup(tx: Tx, body: Json) -> BackupView:
    """Declare one; nothing is read before an admin of the customer has consented to it."""
    return queries.get_backup(tx, backup_plans.declare(tx, Draft(**body)))


@operation(blueprint, "GET /backups/<id:backup_id>", answer=BackupAnswer)
def get_backup(tx: Tx, backup_id: str) -> BackupView:
    """One, as it was declared, and how it stands."""
    return queries.get_backup(tx, backup_id)


@operation(blueprint, "GET /backups/<id:backup_id>/setup", answer=BackupSetupAnswer)
def get_backup_setup(tx: Tx, backup_id: str) -> Json:
    """What the DBA runs once, so that logins of backups can be made, and are let in from there."""
    return {"sql": queries.get_setup(tx, backup_id)}


@operation(blueprint, "POST /backups/<id:backup_id>/end", answer=BackupAnswer)
def end_backup(tx: Tx, backup_id: str) -> BackupView:
    """End it: its open run's login ends at once, and no other is made."""
    lifecycle.end_backup_by_click(tx, backup_id, the_broker().queue)
    return queries.get_backup(tx, backup_id)


@operation(blueprint, "GET /backups/<id:backup_id>/runs", answer=list_of(BackupRunAnswer))
def list_backup_runs(tx: Tx, backup_id: str) -> Json:
    """Its runs, the youngest first: what came of each, where it lies, and when it dies."""
    return whole(queries.list_runs(tx, backup_id))


@operation(
    blueprint,
    "POST /backups/<id:backup_id>/runs",
    takes=RunBody,
    query=WaitQuery,
    answer=BackupRunAnswer,
    status=202,
    transaction=False,
    scope="backup:run",
)
def begin_backup_run(query: Json, body: Json, backup_id: str) -> RunView:
    """Ask for the login of one run; `wait` waits until it is issued, or stuck with a reason."""

    def begin(tx: Tx) -> str:
        people.check(tx, "backup:run")  # first: who may not learns nothing of the id (G12)
        return runs.begin(tx, backup_id, body["verifier"], the_broker().queue)

    try:
        return act_and_wait(query["wait"], begin, queries.get_run, _is_settled)
    except OutsideHours:
        with acting() as tx:  # in a transaction of its own: it was refused, and that is told
            runs.note_unusual(tx, backup_plans.get(tx, backup_id), [rules.OTHER_HOUR])
        raise


@operation(
    blueprint,
    "GET /backup-runs/<id:run_id>",
    query=WaitQuery,
    answer=BackupRunAnswer,
    transaction=False,
)
def get_backup_run(query: Json, run_id: str) -> RunView:
    """One run; `wait` waits until its login is issued, revoked, or stuck with a reason."""
    return wait_for(
        query["wait"], lambda tx: queries.get_run(tx, run_id), _is_settled, identity=run_id
    )


@operation(
    blueprint,
    "POST /backup-runs/<id:run_id>/report",
    takes=ReportBody,
    answer=BackupRunAnswer,
    scope="backup:run",
)
def report_backup_run(tx: Tx, body: Json, run_id: str) -> RunView:
    """Say what came of a run, once; its login ends with that."""
    runs.report(tx, run_id, Report(**body), the_broker().queue)
    return queries.get_run(tx, run_id)


@operation(
    blueprint, "POST /backup-runs/<id:run_id>/gone", answer=BackupRunAnswer, scope="backup:run"
)
def report_backup_gone(tx: Tx, run_id: str) -> RunView:
    """Say that the backup of a run was destroyed."""
    runs.report_gone(tx, run_id)
    return queries.get_run(tx, run_id)


@operation(
    blueprint,
    "POST /backup-runs/<id:run_id>/restores",
    takes=RestoreBody,
    answer=RestoreAnswer,
    status=201,
)
def ask_restore(tx: Tx, body: Json, run_id: str) -> RestoreView:
    """Ask the customer to allow the restore of one backup."""
    return queries.get_restore(tx, restores.ask(tx, run_id, Ask(**body)))


@operation(blueprint, "GET /tenants/<id:tenant_id>/restores", answer=list_of(RestoreAnswer))
def list_restores(tx: Tx, tenant_id: TenantId) -> Json:
    """Restores that were asked of one customer, the youngest first."""
    return whole(queries.list_restores(tx, tenant_id))


@operation(blueprint, "POST /restores/<id:restore_id>/allow", answer=RestoreAnswer)
def allow_restore(tx: Tx, restore_id: str) -> RestoreView:
    """An admin of the customer allows it, to be used once, within its hours."""
    return queries.get_restore(tx, restores.allow(tx, restore_id).id)


@operation(blueprint, "POST /restores/<id:restore_id>/refuse", answer=RestoreAnswer)
def refuse_restore(tx: Tx, restore_id: str) -> RestoreView:
    """An admin refuses it, or takes back what was allowed and is not used yet."""
    return queries.get_restore(tx, restores.refuse(tx, restore_id).id)


@operation(blueprint, "POST /restores/<id:restore_id>/use", answer=RestoreAnswer)
def use_restore(tx: Tx, restore_id: str) -> RestoreView:
    """Begin an allowed restore, once: the answer has the digest that the backup must have."""
    return queries.get_restore(tx, restores.use(tx, restore_id).id)


def _is_settled(run: RunView) -> bool:
    return run.state in {"issued", "revoked"} or run.stuck_reason is not None
