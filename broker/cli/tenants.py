"""Tenants: enrolling them, pinning their keys, ending everything of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from broker.cli.command import Noun
from broker.cli.output import print_item, print_list
from broker.cli.plain import plain
from broker.cli.session import Session, pass_session
from broker.cli.sizes import Size
from broker.errors import NotFound, Unavailable, VerificationFailed

if TYPE_CHECKING:
    from broker.cli.api import Api, Item

_COLUMNS = ("id", "name", "ticket_customer", "created_at")


@click.group(cls=Noun)
def tenants() -> None:
    """Customer organisations."""


@tenants.command("list")
@pass_session
def list_tenants(session: Session) -> None:
    """Tenants that you may see."""
    print_list(list(session.api().pages("tenants")), _COLUMNS, session.output)


@tenants.command()
@click.argument("tenant")
@pass_session
def show(session: Session, tenant: str) -> None:
    """One tenant, with the name of its log."""
    print_item(session.api().get("tenants", tenant), session.output)


@tenants.command()
@click.option("--name", required=True)
@click.option("--legal-id", required=True, help="Its SIREN, or its VAT number (FR83404833048).")
@click.option("--ticket-customer", required=True, help="Its id in the ticket system.")
@click.option("--admin-email", required=True)
@click.option("--admin-name", required=True)
@pass_session
def create(
    session: Session,
    *,
    name: str,
    legal_id: str,
    ticket_customer: str,
    admin_email: str,
    admin_name: str,
) -> None:
    """Enrol a tenant and invite its first admin, who alone decides from then on."""
    body = {
        "name": name,
        "legal_id": legal_id,
        "ticket_customer": ticket_customer,
        "admin_email": admin_email,
        "admin_name": admin_name,
    }
    print_item(session.api().post("tenants", body=body), session.output)


@tenants.command()
@click.argument("tenant")
@click.option("--legal-id", required=True, help="Its SIREN, or its VAT number (FR83404833048).")
@pass_session
def identify(session: Session, *, tenant: str, legal_id: str) -> None:
    """Note who TENANT is in law."""
    body = {"legal_id": legal_id}
    print_item(session.api().post("tenants", tenant, "legal-id", body=body), session.output)


@tenants.command()
@click.argument("tenant")
@click.option("--copies", type=Size(), required=True, help="Such as 50GB; none: no bound.")
@pass_session
def limit(session: Session, *, tenant: str, copies: int | None) -> None:
    """Say what the copies of TENANT may take at once on test servers."""
    body = {"copies_bytes": copies}
    print_item(session.api().post("tenants", tenant, "copies-quota", body=body), session.output)


@tenants.command()
@click.argument("tenant")
@click.option(
    "--fingerprint",
    "expected",
    multiple=True,
    help="What a key's fingerprint must be, as you know it from elsewhere; one for each key.",
)
@click.option("--replace", is_flag=True, help="Also when other keys were pinned before.")
@pass_session
def pin(session: Session, *, tenant: str, expected: tuple[str, ...], replace: bool) -> None:
    """Keep the keys of TENANT's log, to verify it by them.

    The broker's word alone proves nothing: compare the fingerprints with those that reached you by
    another way, such as the mail of your invitation.
    """
    from broker.cli import trust

    api = session.api()
    origin = api.get("tenants", tenant).get("log_origin")
    answer = api.get("tenants", tenant, "keys")
    texts = [item.get("key") for item in answer.get("items", [])]
    if not isinstance(origin, str) or not all(isinstance(text, str) for text in texts):
        raise Unavailable("the broker named no keys for this tenant")
    keys = trust.parse_keys([str(text) for text in texts], origin)
    for known in trust.find_pinned(session.home, origin):
        click.echo(f"pinned   {plain(known.name)}  {known.fingerprint()}")
    for key in keys:
        click.echo(f"offered  {plain(key.name)}  {key.fingerprint()}")
    told = _find_slot(api, tenant)
    if expected:
        _check_told({key.fingerprint() for key in keys}, _list_prints(told), expected)
    else:
        click.confirm("Are the offered fingerprints those that you were told?", abort=True)
    file = trust.pin(session.home, origin, keys, replace=replace)
    click.echo(f"Pinned in {file}.")
    if told is None:
        return
    slot, digest = told.get("slot"), told.get("digest")
    if not isinstance(slot, int) or not isinstance(digest, str):
        raise Unavailable("the broker named no slot of the root log")
    trust.pin_slot(session.home, origin, (slot, digest))
    click.echo(
        f"Slot {slot} of {plain(str(told.get('root')))} is pinned too; SHA-256 {plain(digest)}"
    )
    if told.get("cosigner") is not None:
        text = str(told["cosigner"])
        cosigner = trust.pin_cosigner(session.home, origin, text, replace=replace)
        click.echo(
            f"{plain(cosigner.name)} (ML-DSA-44) is pinned; SHA-256 {cosigner.fingerprint()}"
        )


def _find_slot(api: Api, tenant: str) -> Item | None:
    """The slot of the log in the root log, asked once: what is compared is what is pinned."""
    try:
        return api.get("tenants", tenant, "log", "slot")
    except NotFound:
        return None


def _list_prints(told: Item | None) -> set[str]:
    """What the mail tells beside the keys: of the slot, and of the root log's cosigner."""
    from broker.audit.cosigning import WitnessKey

    if told is None:
        return set()
    cosigner = told.get("cosigner")
    prints = [] if cosigner is None else [WitnessKey.parse(str(cosigner)).fingerprint()]
    return {str(told.get("digest")), *prints}


def _check_told(keys: set[str], beside: set[str], expected: Sequence[str]) -> None:
    """Each key was expected, and all that was expected is offered. Raises VerificationFailed."""
    wanted = {text.strip().lower() for text in expected}
    if not keys <= wanted <= keys | beside:
        raise VerificationFailed("these fingerprints are not those that you expected")


@tenants.command("end-everything")
@click.argument("tenant")
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_session
def end_everything(session: Session, *, tenant: str, yes: bool) -> None:
    """End all requests and grants of TENANT: logins are cut, copies destroyed."""
    if not yes:
        click.confirm(f"End every access to {tenant} and destroy every copy?", abort=True)
    print_item(session.api().post("tenants", tenant, "end-everything"), session.output)
