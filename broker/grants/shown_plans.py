"""The plan of a request: made once, stored, and shown by its digest.

What must stay true: a request whose plan is there keeps it, so that what is approved is what was
shown. The literals of its catalogue are the tenant's own: they go when the request is over (G1).
"""

from __future__ import annotations

from dataclasses import asdict, replace

import sqlalchemy as sa

from broker import mail, platforms, retries, storages, tenants, trail
from broker.due import AT, Due
from broker.engines.ownership import Owned
from broker.errors import Conflict
from broker.grants import delegates
from broker.grants.model import Grant, PlanRow
from broker.grants.plan import (
    FindObstacle,
    Plan,
    PlatformPlan,
    StoragePlan,
    from_document,
    make_plan,
)
from broker.grants.policy import Policy
from broker.grants.requests import get_grant
from broker.grants.room import check_possible
from broker.grants.scope_kinds import Wanted
from broker.grants.telling import page_of, say_lapse
from broker.ids import TenantId
from broker.letters import Letter, phrase
from broker.tx import Tx


def _plan_storage(tx: Tx, grant: Grant) -> StoragePlan | None:
    if grant.storage_id is None:
        return None
    storage = storages.get_storage(tx, grant.storage_id)
    return StoragePlan(storage.id, storage.name, storage.bucket, storage.prefix)


def _plan_platform(tx: Tx, grant: Grant) -> PlatformPlan | None:
    if grant.platform_id is None:
        return None
    platform = platforms.get_platform(tx, grant.platform_id)
    return PlatformPlan(platform.id, platform.name, platform.audience)


def keep_plan(
    tx: Tx,
    grant_id: str,
    owned: Owned,
    policy: Policy,
    find_obstacle: FindObstacle,
) -> str:
    """Store the plan that will be shown, and return its digest.

    Made once: a request whose plan is there keeps it, so that what is approved is what was shown.
    Raises NoRoom for a copy that could not be made.
    """
    grant = get_grant(tx, grant_id, lock=True)
    if grant.asked_digest is not None or grant.state != "requested":
        return grant.asked_digest or ""
    tenancy = tenants.get_database(tx, grant.database_id).whose
    catalogue = owned.catalogue
    made = make_plan(
        policy,
        catalogue,
        find_obstacle,
        whose=owned.whose,
        tenancy=tenancy.digest(),
        wanted=Wanted(
            grant.asked_kind,
            tuple(grant.raw_columns),
            grant.asked_develop,
            grant.asked_dedicated,
        ),
    )
    plan = replace(made, platform=_plan_platform(tx, grant), storage=_plan_storage(tx, grant))
    if grant.asked_copy_s:
        check_possible(tx, grant.tenant_id, plan)
    digest = plan.digest()
    grant.asked_digest = digest
    retries.note_success(grant)
    tx.session.add(
        PlanRow(
            grant_id=grant.id,
            digest=digest,
            document=plan.document(),
            literals={"literals": [asdict(literal) for literal in catalogue.literals]},
            made_at=tx.at,
        )
    )
    tenant_id = TenantId(grant.tenant_id)
    trail.record(tx, tenant_id, "plan.made", grant.id, {"digest": digest, **counts_of(plan)})
    return digest


def tell_that_it_waits(tx: Tx, grant: Grant) -> None:
    """To the tenant's admins, once its plan can be read."""
    tenant_id = TenantId(grant.tenant_id)
    letter = Letter(
        phrase("A request waits for you: %(grant)s", grant=grant.id),
        [
            phrase(
                "A support engineer asks for access to your database and waits for your answer.\n"
                "Request: %(grant)s\n"
                "Read exactly what would be seen, and decide, on your console.",
                grant=grant.id,
            ),
            say_lapse(grant),
        ],
        kind="waiting",
        page=page_of(grant),
        thread=grant.ticket_id,
    )
    for person_id in delegates.list_deciders(tx, tenant_id):
        mail.write(tx, person_id, tenant_id, letter)


def counts_of(plan: Plan) -> dict[str, int]:
    columns = [column for table in plan.tables if table.rows for column in table.columns]
    kept = sum(column.kept for column in columns)
    raw = sum(column.raw for column in columns)
    restricted = plan.tables_restricted
    return {
        **({"columns_raw": raw} if raw else {}),
        **({"tables_restricted": restricted} if restricted else {}),
        "tables": sum(table.rows for table in plan.tables),
        "columns_kept": kept,
        "columns_masked": len(columns) - kept,
    }


def get_plan(tx: Tx, grant_id: str, digest: str | None) -> Plan:
    row = tx.session.get(PlanRow, (grant_id, digest)) if digest else None
    if row is None:
        raise Conflict("the plan is not made yet; look again in a moment")
    return from_document(row.document)


def forget_literals(tx: Tx, grant: Grant) -> None:
    tx.session.execute(sa.update(PlanRow).where(PlanRow.grant_id == grant.id).values(literals=None))


def note_plan_failure(tx: Tx, grant_id: str, error: Exception) -> None:
    """Say on the request why its plan is not there yet; the sweep tries again."""
    grant = get_grant(tx, grant_id, lock=True)
    retries.note_failure(grant, tx.at, retries.describe(error))


WITHOUT_PLAN = Due(
    Grant,
    sa.and_(Grant.state == "requested", Grant.asked_digest.is_(None), Grant.next_try_at <= AT),
    Grant.next_try_at,
)
