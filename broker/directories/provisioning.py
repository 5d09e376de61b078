"""What a directory does with people: list, make, change, take out.

    not here ─create─▶ active ─take out─▶ inactive ─take in─▶ active       any ─forget─▶ not here

`inactive` is a person without a role here whom the directory still knows.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from broker import enrolling, people, roles, sessions, signin, trail
from broker.directories.model import Directory, DirectoryPerson
from broker.enrolling import NewMember
from broker.errors import NOT_THERE, Conflict, NotFound
from broker.ids import PersonId, TenantId
from broker.oidc import links
from broker.people import Membership, Person, Shown
from broker.settings import Settings
from broker.tenants import check_name
from broker.trail import Personal
from broker.tx import Tx


@dataclass(frozen=True, slots=True)
class Entry:
    """A person as a directory sees them; `roles` are empty of who is inactive."""

    person_id: PersonId
    name: str
    email: str
    roles: tuple[str, ...]
    external_id: str | None
    created_at: datetime
    changed_at: datetime

    @property
    def active(self) -> bool:
        return bool(self.roles)


@dataclass(frozen=True, slots=True)
class Wished:
    """What a directory says of a person; None leaves a part as it is."""

    name: str | None = None
    external_id: str | None = None
    active: bool | None = None
    roles: Collection[str] | None = None


def list_entries(tx: Tx, directory: Directory) -> list[Entry]:
    """All people of the tenant, but programs: those with a role, and those who are inactive."""
    tenant_id = TenantId(directory.tenant_id)
    known = {row.person_id: row for row in _rows(tx, tenant_id)}
    held: dict[str, list[Membership]] = {}
    for row in _memberships(tx, tenant_id):
        held.setdefault(row.person_id, []).append(row)
    identities = [*held, *(one for one in known if one not in held)]
    entries = [_entry(one, held.get(one, []), known.get(one)) for one in identities]
    return sorted(entries, key=lambda one: (one.created_at, one.person_id))


def get_entry(tx: Tx, directory: Directory, person_id: str) -> Entry:
    """Raises NotFound, also for who works elsewhere (G12)."""
    found = [one for one in list_entries(tx, directory) if one.person_id == person_id]
    if not found:
        raise NotFound(NOT_THERE)
    return found[0]


def create(tx: Tx, directory: Directory, email: str, wished: Wished, settings: Settings) -> Entry:
    """Invite a person. Raises Conflict when the address is known here, Invalid."""
    tenant_id = TenantId(directory.tenant_id)
    key = people.address_key(email)
    if any(people.address_key(one.email) == key for one in list_entries(tx, directory)):
        raise Conflict("a person of this organisation has this address already")
    wanted = sorted(wished.roles or {directory.role})
    name = check_name(wished.name or email)
    person_id = enrolling.admit(tx, NewMember(tenant_id, email, name, wanted[0]), settings)
    roles.set_roles(tx, person_id, tenant_id, wanted)
    _keep(tx, tenant_id, person_id, Shown(name, email.strip()), wished.external_id)
    if wished.active is False:
        _take_out(tx, directory, person_id)
    return get_entry(tx, directory, person_id)


def change(tx: Tx, directory: Directory, person_id: str, wished: Wished) -> Entry:
    """Raises NotFound, Invalid; Conflict for the tenant's last admin."""
    entry, tenant_id = get_entry(tx, directory, person_id), TenantId(directory.tenant_id)
    identity = entry.person_id
    shown = Shown(check_name(wished.name or entry.name), entry.email)
    row = _keep(tx, tenant_id, identity, shown, wished.external_id)
    if shown.name != entry.name:
        _rename(tx, tenant_id, identity, shown.name)
    if wished.active is False and entry.active:
        _take_out(tx, directory, identity)
    elif entry.active if wished.active is None else wished.active:
        wanted = set(wished.roles or entry.roles or row.roles or [directory.role])
        if wanted != set(entry.roles):
            roles.set_roles(tx, identity, tenant_id, wanted, shown)
            row.changed_at = tx.at
    elif wished.roles:
        row.roles = sorted(wished.roles)
    tx.session.flush()
    return get_entry(tx, directory, person_id)


def forget(tx: Tx, directory: Directory, person_id: str) -> None:
    """Take out, and know no more of. Raises NotFound, Conflict."""
    entry = get_entry(tx, directory, person_id)
    if entry.active:
        _take_out(tx, directory, entry.person_id)
    tx.session.execute(
        sa.delete(DirectoryPerson).where(
            DirectoryPerson.tenant_id == directory.tenant_id,
            DirectoryPerson.person_id == person_id,
        )
    )


def _take_out(tx: Tx, directory: Directory, person_id: PersonId) -> None:
    """The person can do nothing here from now on; what rests on their roles ends by the sweep."""
    tenant_id = TenantId(directory.tenant_id)
    row = tx.session.get_one(DirectoryPerson, (tenant_id, person_id))
    row.roles, row.changed_at = roles.list_roles(tx, person_id, tenant_id), tx.at
    roles.set_roles(tx, person_id, tenant_id, ())
    links.end_in(tx, person_id, tenant_id)
    held = sa.select(Membership.id).where(
        Membership.person_id == person_id, Membership.ended_at.is_(None)
    )
    if tx.session.scalar(held.limit(1)) is None:  # nowhere any more
        sessions.end_sessions(tx, person_id)
        signin.end_tokens(tx, person_id)


def _keep(
    tx: Tx, tenant_id: TenantId, person_id: PersonId, shown: Shown, external_id: str | None
) -> DirectoryPerson:
    row = tx.session.get(DirectoryPerson, (tenant_id, person_id))
    if row is None:
        row = DirectoryPerson(
            tenant_id=tenant_id, person_id=person_id, created_at=tx.at, roles=[], changed_at=tx.at
        )
        tx.session.add(row)
    row.shown_name, row.shown_email = shown.name, shown.email
    if external_id is not None and external_id != row.external_id:
        other = sa.select(DirectoryPerson.person_id).where(
            DirectoryPerson.tenant_id == tenant_id, DirectoryPerson.external_id == external_id
        )
        with tx.session.no_autoflush:
            if tx.session.scalar(other) not in {None, person_id}:
                raise Conflict("another person of this organisation has this externalId")
        row.external_id, row.changed_at = external_id, tx.at
    tx.session.flush()
    return row


def _rename(tx: Tx, tenant_id: TenantId, person_id: PersonId, name: str) -> None:
    """What the person is called here; elsewhere it keeps its name."""
    tx.session.execute(
        sa.update(Membership)
        .where(
            Membership.person_id == person_id,
            Membership.tenant_id == tenant_id,
            Membership.ended_at.is_(None),
        )
        .values(name=name)
    )
    row = tx.session.get_one(DirectoryPerson, (tenant_id, person_id))
    row.changed_at = tx.at
    told = [Personal("name", name, person_id)]
    trail.record(tx, tenant_id, "member.renamed", person_id, {}, told)


def _rows(tx: Tx, tenant_id: TenantId) -> Sequence[DirectoryPerson]:
    query = sa.select(DirectoryPerson).where(DirectoryPerson.tenant_id == tenant_id)
    return tx.session.scalars(query).all()


def _memberships(tx: Tx, tenant_id: TenantId) -> Sequence[Membership]:
    query = (
        sa.select(Membership)
        .join(Person, Person.id == Membership.person_id)
        .where(
            Membership.tenant_id == tenant_id,
            Membership.ended_at.is_(None),
            Person.service.is_(False),
            Person.disabled_at.is_(None),
        )
        .order_by(Membership.id)
        .execution_options(populate_existing=True)
    )
    return tx.session.scalars(query).all()


def _entry(person_id: str, held: Sequence[Membership], row: DirectoryPerson | None) -> Entry:
    if held:
        name, email, since = held[0].name, held[0].email, held[0].created_at
    else:
        assert row is not None  # noqa: S101  # for the type checker: it is known by one or both
        name, email, since = row.shown_name, row.shown_email, row.created_at
    return Entry(
        PersonId(person_id),
        name,
        email,
        tuple(sorted({one.role for one in held})),
        row.external_id if row else None,
        row.created_at if row else since,
        row.changed_at if row else since,
    )


def forget_person(tx: Tx, person_id: PersonId) -> None:
    """At an erasure."""
    tx.session.execute(sa.delete(DirectoryPerson).where(DirectoryPerson.person_id == person_id))
