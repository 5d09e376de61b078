"""How tenants and people come in and go: the rules of who may, and the mails that invite them.

What must stay true: the vendor makes a tenant's first admin, and after that only the tenant's own
admins make or remove its people; the vendor's operators do so for the vendor's.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from broker import mail, people, sessions, signin, tenants
from broker.api_tokens import SCOPES, Limits
from broker.audit.cosigning import WitnessKey
from broker.audit.epochs import give_slot
from broker.audit.export import verifier_keys
from broker.audit.note import VerifierKey
from broker.errors import NOT_THERE, Conflict, Denied, Invalid, NotFound, SettingsError, Unavailable
from broker.ids import PersonId, TenantId
from broker.keys import LOG_KEY, ML_DSA_KEY, STATEMENTS_KEY
from broker.legal_ids import parse_legal_id
from broker.letters import Letter, Phrase, own, phrase
from broker.oidc import links
from broker.people import Person
from broker.secret import Secret
from broker.settings import Settings, Workload
from broker.tx import Actor, Tx


@dataclass(frozen=True, slots=True)
class NewTenant:
    """`ticket_customer` is the tenant's id in the ticket system; `legal_id` see `legal_ids`."""

    name: str
    legal_id: str
    ticket_customer: str
    admin_email: str
    admin_name: str


@dataclass(frozen=True, slots=True)
class NewMember:
    """`tenant_id` None is the vendor."""

    tenant_id: TenantId | None
    email: str
    name: str
    role: str


def check_professional(email: str, settings: Settings) -> None:
    """Refuse a private person's mail provider: tenants are organisations. Raises Invalid."""
    _, _, domain = people.address_key(email).rpartition("@")
    if domain in read_domains(settings.tools.config / "consumer_domains.txt"):
        raise Invalid(
            f"{domain} is a mail provider for private persons; the broker is for organisations: "
            "give an address of the organisation's own domain",
            fields={"email": "an address of the organisation's own domain"},
        )


@functools.cache
def read_domains(file: Path) -> frozenset[str]:
    """Domains, one a line, without remarks. Raises SettingsError when the list is not there."""
    try:
        lines = file.read_text().splitlines()
    except OSError as error:
        raise SettingsError(f"the list of mail providers can't be read: {error}") from None
    return frozenset(line.strip() for line in lines if line.strip() and not line.startswith("#"))


def enrol_tenant(tx: Tx, new: NewTenant, settings: Settings) -> TenantId:
    """Make a tenant and mail its first admin an invitation with the keys to pin."""
    people.check(tx, "tenant:create")
    check_professional(new.admin_email, settings)
    tenant_id, person_id = tenants.enrol(
        tx,
        name=new.name,
        legal_id=parse_legal_id(new.legal_id),
        ticket_customer=new.ticket_customer,
        admin_email=new.admin_email,
        admin_name=new.admin_name,
        log_host=settings.vendor.host,
    )
    keys, slot = list_keys(tx, tenant_id), give_slot(tx, tenant_id)
    cosigner = find_cosigner(tx, slot.root)
    first = phrase(
        "%(vendor)s has enrolled %(name)s, and you are its first admin: you decide who of our "
        "support may see what, and for how long.",
        vendor=settings.vendor.name,
        name=new.name,
    )
    pin = phrase(
        "Keep this mail. Your log and every certificate of destruction are signed by these keys; "
        "compare their fingerprints before you pin them, best through another channel:\n%(keys)s",
        keys=[
            *(f"  {key.name}\n    SHA-256 {key.fingerprint()}" for key in keys),
            f"  {slot.root} [{slot.number}]\n    SHA-256 {slot.digest}",
            *(
                [f"  {cosigner.name} (ML-DSA-44)\n    SHA-256 {cosigner.fingerprint()}"]
                if cosigner
                else []
            ),
        ],
    )
    said = [first, *_how_to_begin(settings), pin]
    _invite(tx, person_id, tenant_id, said, settings)
    return tenant_id


def identify_tenant(tx: Tx, tenant_id: TenantId, legal_id: str) -> None:
    """Tell who a customer is in law that was enrolled before that was asked, or became another."""
    people.check(tx, "tenant:create", tenant_id)
    tenants.identify(tx, tenant_id, parse_legal_id(legal_id))


def add_member(tx: Tx, new: NewMember, settings: Settings) -> PersonId:
    """Give a person a role and tell it so, with an invitation if it has no password yet."""
    _check_may_change(tx, "person:add", new.tenant_id)
    return admit(tx, new, settings)


def admit(tx: Tx, new: NewMember, settings: Settings) -> PersonId:
    """As `add_member`, for who may: its caller has checked that."""
    if new.tenant_id is not None:
        check_professional(new.email, settings)
    side = "vendor" if new.tenant_id is None else "tenant"
    person_id = people.add_person(tx, side=side, email=new.email, name=new.name)
    members = people.list_members(tx, new.tenant_id)
    if any(one.person_id == person_id and one.role == new.role for one in members):
        raise Conflict(f"this person is {new.role} here already")
    shown = people.Shown(new.name.strip(), new.email.strip())
    people.add_membership(tx, person_id, new.role, new.tenant_id, shown=shown)
    where = tenants.get_tenant(tx, new.tenant_id).name if new.tenant_id else settings.vendor.name
    given = phrase(
        "You were given the role %(role)s at %(where)s.", role=Phrase(new.role), where=where
    )
    if people.get_person(tx, person_id).password_hash is None:
        said = [given, *_how_to_begin(settings)]
        _invite(tx, person_id, new.tenant_id, said, settings)
    else:
        usual = phrase("Sign in as usual: %(url)s", url=settings.web.public_url)
        letter = Letter(phrase("You have a new role"), [given, usual])
        mail.write(tx, person_id, new.tenant_id, letter)
    return person_id


def add_service(tx: Tx, tenant_id: TenantId | None, name: str) -> PersonId:
    """Make a program's account: it reads as an auditor in a tenant, asks as an engineer in the
    vendor, and decides nothing. Its tokens are made and ended by who may add people there.
    """
    _check_may_change(tx, "person:add", tenant_id)
    side, role = ("vendor", "engineer") if tenant_id is None else ("tenant", "auditor")
    person_id = people.add_service(tx, side=side, name=name)
    people.add_membership(tx, person_id, role, tenant_id)
    return person_id


def get_service(tx: Tx, person_id: str) -> PersonId:
    """A program whose tokens the actor may make and end. Raises NotFound, as for none (G12)."""
    held = people.find_service(tx, person_id)
    if held is None:
        raise NotFound(NOT_THERE)
    _check_may_change(tx, "person:add", TenantId(held.tenant_id) if held.tenant_id else None)
    return PersonId(held.person_id)


def let_workload_in(tx: Tx, workload: Workload) -> Secret[str]:
    """A short token of the program that the settings name, once its platform's token was verified.

    Raises Denied when there is no such program any more, or its limits can't be meant.
    """
    held = people.find_service(tx, workload.service)
    person = None if held is None else tx.session.get_one(Person, held.person_id)
    if held is None or person is None or person.disabled_at is not None:
        raise Denied("the program that the settings name for this is not there")
    until = tx.at + timedelta(seconds=workload.lives_s)
    mine = replace(tx, actor=Actor(person.side, "workload", PersonId(person.id), until))
    tenants_of = None if workload.tenants is None else frozenset(workload.tenants)
    limits = Limits(frozenset(workload.scopes), tenants_of)
    check_limits(mine, limits, service=True)
    return signin.create_token(mine, "workload", 1, limits)[1]


def check_limits(tx: Tx, limits: Limits, *, service: bool) -> None:
    """Raises Invalid for limits that can't be meant, NotFound for a tenant of others."""
    unknown = sorted((limits.scopes or frozenset()) - set(SCOPES))
    if unknown:
        raise Invalid(f"there is no scope {', '.join(unknown)}", fields={"scopes": "unknown"})
    if service and limits.scopes is None:
        raise Invalid(
            "a program's token is limited: name its scopes, or none of them for reading alone",
            fields={"scopes": "must be there"},
        )
    for tenant_id in limits.tenants or ():
        people.check(tx, "tenant:read", TenantId(tenant_id))
        tenants.get_tenant(tx, TenantId(tenant_id))


def remove_member(tx: Tx, person_id: PersonId, tenant_id: TenantId | None) -> None:
    """End all roles of a person there."""
    _check_may_change(tx, "person:remove", tenant_id)
    people.end_membership(tx, person_id, tenant_id)
    links.end_in(tx, person_id, tenant_id)


def disable(tx: Tx, person_id: str) -> Person:
    """Shut out a person of the vendor; what it asked for is ended by the sweep."""
    people.check(tx, "person:disable")
    person = people.get_person(tx, person_id)
    if person.side != "vendor":
        raise Denied("a tenant's people are removed by its own admins")
    if person.id == tx.actor.person_id:
        raise Conflict("nobody disables themselves; another operator does it")
    people.disable_person(tx, PersonId(person.id))
    sessions.end_sessions(tx, PersonId(person.id))
    return person


def list_keys(tx: Tx, tenant_id: TenantId) -> tuple[VerifierKey, ...]:
    """The keys that a tenant pins: of its log, and of the vendor's statements about it.

    Those that sign now stand first; then those that signed before, and those that will.
    """
    people.check(tx, "tenant:read", tenant_id)
    origin = tenants.get_tenant(tx, tenant_id).log_origin
    published = [tenants.find_published_key(tx, name) for name in (LOG_KEY, STATEMENTS_KEY)]
    log, statements = published
    if log is None or statements is None:
        raise Unavailable("no worker has published the public keys yet; start one, then try again")
    keys = [VerifierKey.parse(text) for text in verifier_keys(origin, log, statements)]
    for purpose, key in zip((LOG_KEY, STATEMENTS_KEY), tuple(keys), strict=True):
        others = tenants.find_published_key(tx, f"{purpose}/others") or b""
        keys += [VerifierKey(key.name, others[at : at + 32]) for at in range(0, len(others), 32)]
    return tuple(keys)


def find_cosigner(tx: Tx, root: str) -> WitnessKey | None:
    """The key with which the broker itself cosigns its root log, where that is set."""
    public = tenants.find_published_key(tx, ML_DSA_KEY)
    return None if public is None else WitnessKey(root, public)


def _check_may_change(tx: Tx, permission: str, tenant_id: TenantId | None) -> None:
    people.check(tx, permission, tenant_id)
    if tenant_id is not None and tx.actor.side != "tenant":
        raise Denied("only a tenant's own admins make or remove its people")


def _how_to_begin(settings: Settings) -> list[Phrase]:
    """`{code}` is put in at sending, so that it lies in no table."""
    how = phrase(
        "Set your password at %(url)s with this code, within %(days)s days:",
        url=f"{settings.web.public_url}/invitation",
        days=settings.times.invitation_s // 86400,
    )
    return [how, own("  {code}")]


def _invite(
    tx: Tx,
    person_id: PersonId,
    tenant_id: TenantId | None,
    said: Sequence[Phrase],
    settings: Settings,
) -> None:
    invitation = signin.invite(tx, person_id, settings.times)
    letter = Letter(phrase("Your invitation"), said, invitation_id=invitation)
    mail.write(tx, person_id, tenant_id, letter)
