"""Making a request's plan: the one read of a tenant's server before approval.

Of its catalogue only: registering the database was the standing consent to that (G1), to names,
types, constraints and sizes. Of a database that tenants share, only the requester's customer's part
leaves this function (G12).
"""

from __future__ import annotations

from broker import retries, tenants
from broker.db import Busy, Database
from broker.engines.ownership import find_owned
from broker.engines.postgres.catalogue import read_catalogue
from broker.engines.postgres.connect import connect
from broker.engines.postgres.masks import find_obstacle
from broker.grants import in_advance, requests, shown_plans
from broker.grants.policy import Policy
from broker.grants.targets import LoginOpener, live_target
from broker.tx import system

_WORKER = system("worker")


def plan(database: Database, opener: LoginOpener, policy: Policy, grant_id: str) -> None:
    """Read the catalogue, store the plan, and answer what was approved in advance.

    A failure is noted and tried again by the sweep.
    """
    try:
        with database.exclusive(f"plan {grant_id}"):
            with database.begin(_WORKER) as tx:
                grant = requests.get_grant(tx, grant_id)
                if grant.asked_digest is not None or grant.state != "requested":
                    return
                row = tenants.get_database(tx, grant.database_id)
                schemas, tenancy = row.schemas, row.whose
            try:
                with connect(live_target(opener, row)) as connection:
                    catalogue = read_catalogue(connection, schemas)
                with database.begin(_WORKER) as tx:
                    owned = find_owned(catalogue, tenancy, schemas)
                    shown_plans.keep_plan(tx, grant_id, owned, policy, find_obstacle)
                    in_advance.answer(tx, grant_id)
            except retries.FAILURES as error:
                with database.begin(_WORKER) as tx:
                    shown_plans.note_plan_failure(tx, grant_id, error)
    except Busy:
        return
