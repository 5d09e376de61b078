"""Pausing and resuming a login or a whole grant."""

from __future__ import annotations

from broker.api.access import GrantAnswer
from broker.api.leases import LeaseAnswer
from broker.api.operations import acting, new_blueprint, operation, the_broker
from broker.api.shapes import WaitQuery
from broker.api.waiting import wait_for
from broker.db import Json
from broker.grants import pausing, queries
from broker.grants.queries import GrantView, LeaseView
from broker.tx import Tx

blueprint = new_blueprint("pauses", "Pausing logins and grants")


@operation(
    blueprint,
    "POST /leases/<id:lease_id>/pause",
    query=WaitQuery,
    answer=LeaseAnswer,
    transaction=False,
)
def pause_lease(query: Json, lease_id: str) -> LeaseView:
    """Cut a login's sessions and let nobody in; its end stays. `wait` waits until it is done."""
    with acting() as tx:
        pausing.pause_lease(tx, lease_id, the_broker().queue)
    return _wait(query, lease_id)


@operation(
    blueprint,
    "POST /leases/<id:lease_id>/resume",
    query=WaitQuery,
    answer=LeaseAnswer,
    transaction=False,
)
def resume_lease(query: Json, lease_id: str) -> LeaseView:
    """Let a paused login in again; what the customer paused, the customer alone resumes."""
    with acting() as tx:
        pausing.resume_lease(tx, lease_id, the_broker().queue)
    return _wait(query, lease_id)


def _wait(query: Json, lease_id: str) -> LeaseView:
    return wait_for(
        query["wait"],
        lambda tx: queries.get_lease_view(tx, lease_id),
        lambda lease: lease.pause in {"paused", "open"} or lease.stuck_reason is not None,
        identity=lease_id,
    )


@operation(blueprint, "POST /grants/<id:grant_id>/pause", answer=GrantAnswer)
def pause_grant(tx: Tx, grant_id: str) -> GrantView:
    """Pause all logins of a grant; it gives no new login and no new copy. Its ends stay."""
    pausing.pause_grant(tx, grant_id, the_broker().queue)
    return queries.get_grant_view(tx, grant_id)


@operation(blueprint, "POST /grants/<id:grant_id>/resume", answer=GrantAnswer)
def resume_grant(tx: Tx, grant_id: str) -> GrantView:
    """Lift the pause of a grant; logins that were paused by themselves stay so."""
    pausing.resume_grant(tx, grant_id, the_broker().queue)
    return queries.get_grant_view(tx, grant_id)
