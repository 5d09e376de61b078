"""Storages: a tenant's objects in a bucket; and sessions on them."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import click

from broker.cli.command import Noun
from broker.cli.output import print_item, print_list
from broker.cli.session import Session, pass_session
from broker.errors import Conflict

_COLUMNS = ("id", "name", "bucket", "prefix", "registered_at")
_ISSUED_WITHIN_S = 60


@click.group(cls=Noun)
def storages() -> None:
    """Objects of tenants in buckets, which support may ask to read."""


@storages.command("list")
@click.option("--tenant", required=True, metavar="TENANT")
@pass_session
def list_storages(session: Session, tenant: str) -> None:
    """Storages of a tenant."""
    print_list(list(session.api().pages("storages", tenant=tenant)), _COLUMNS, session.output)


@storages.command()
@click.argument("storage")
@pass_session
def show(session: Session, storage: str) -> None:
    """One storage, as it is registered."""
    print_item(session.api().get("storages", storage), session.output)


@storages.command()
@click.option("--tenant", required=True, metavar="TENANT")
@click.option("--name", required=True, help="What people call it.")
@click.option("--bucket", required=True)
@click.option("--prefix", required=True, help="Ends in /; all below is this tenant's alone.")
@pass_session
def create(session: Session, *, tenant: str, name: str, bucket: str, prefix: str) -> None:
    """Register the objects of BUCKET under PREFIX as a tenant's."""
    body = {"tenant": tenant, "name": name, "bucket": bucket, "prefix": prefix}
    print_item(session.api().post("storages", body=body), session.output)


@storages.command()
@click.argument("storage")
@pass_session
def remove(session: Session, storage: str) -> None:
    """Take STORAGE out of use: requests and grants on it end, with all that rests on them."""
    session.api().delete("storages", storage)
    click.echo(f"{storage} is removed.")


@storages.command("session")
@click.argument("grant")
@pass_session
def start_session(session: Session, grant: str) -> None:
    """Keys that list and read the objects of GRANT for 15 minutes; printed alone, as JSON.

    In the form of the AWS tools' credential_process. Nobody can end them before their time.
    """
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    from broker.keys.intake import open_login, waiting_context

    api, private = session.api(), X25519PrivateKey.generate()
    public = base64.b64encode(private.public_key().public_bytes_raw()).decode()
    lease_id = str(api.post("grants", grant, "sessions", body={"public": public})["id"])
    lease = api.wait("leases", lease_id, until=_is_answered, timeout_s=_ISSUED_WITHIN_S)
    if lease["state"] != "issued":
        why = lease.get("stuck_reason") or "it was ended before it was started"
        raise Conflict(f"the session {lease_id} is {lease['state']}: {why}")
    sealed = base64.b64decode(api.post("leases", lease_id, "session")["sealed"])
    click.echo(open_login(private, sealed, waiting_context(lease_id)).reveal())


def _is_answered(lease: dict[str, Any]) -> bool:
    return lease["state"] != "pending" or bool(lease.get("stuck_reason"))


@storages.command("cut-policy")
def cut_policy() -> None:
    """A policy for the role of sessions that voids all that were started until now; printed alone.

    Put it on the role, with the tools of your cloud: it is the one way to end sessions before their
    time, of all tenants together. Sessions that start later are not touched.
    """
    from broker.stores.session_policy import make_cut_policy

    click.echo(make_cut_policy(datetime.now(UTC)))
