"""People, their memberships, and the one function that says who may do what.

A person is one verified address, in whatever capitals. A person belongs to one side: someone of the
vendor holds no membership in a tenant, also not under a `+tag` of the same address. A foreign key
on (person, side) keeps it true whatever the code does.

Roles and permissions are data (`config/permissions.toml`, loaded into `role_permission`).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from broker import trail
from broker.db import Base
from broker.errors import NOT_THERE, Conflict, Denied, Invalid, NotFound
from broker.ids import PersonId, TenantId, new_id
from broker.trail import Personal
from broker.tx import Tx

VENDOR_ROLES = ("engineer", "lead", "operator", "privacy_officer")
TENANT_ROLES = ("admin", "auditor")
_HELD = "broker.people.held"
# Asked of the vendor's people before a tenant is known, and again for the tenant when it is: by its
# permission there, or at the latest by `trail.record`. A token limited to some tenants holds these.
_BEFORE_A_TENANT = frozenset({"grant:request", "lease:issue", "snapshot:order", "ticket:read"})
_ADDRESS = re.compile(r"\A[^@\s\x00-\x1f\"<>(),;:\\]{1,64}@[a-z0-9.-]{1,190}\.[a-z]{2,24}\Z")


class Person(Base):
    __tablename__ = "person"
    id: Mapped[str] = mapped_column(primary_key=True)
    side: Mapped[str]
    name: Mapped[str]
    email: Mapped[str]
    address_key: Mapped[str] = mapped_column(unique=True)
    address_fold: Mapped[str]
    password_hash: Mapped[str | None]
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]
    settled_at: Mapped[datetime | None]
    service: Mapped[bool] = mapped_column(default=False)  # a program's account
    restricted_at: Mapped[datetime | None]  # see `rights.acting`
    language: Mapped[str | None]  # of mails; None until the person's browser or choice said it
    zone: Mapped[str | None]  # a name of the IANA's
    declined_notices: Mapped[list[str]] = mapped_column(default=list)


class Membership(Base):
    __tablename__ = "membership"
    id: Mapped[int] = mapped_column(sa.Identity(always=True), primary_key=True)
    person_id: Mapped[str]
    side: Mapped[str]
    tenant_id: Mapped[str | None] = mapped_column(sa.ForeignKey("tenant.id"))
    role: Mapped[str]
    name: Mapped[str]
    email: Mapped[str]
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    settled_at: Mapped[datetime | None]
    __table_args__ = (sa.ForeignKeyConstraint(["person_id", "side"], ["person.id", "person.side"]),)


class RolePermission(Base):
    __tablename__ = "role_permission"
    side: Mapped[str] = mapped_column(primary_key=True)
    role: Mapped[str] = mapped_column(primary_key=True)
    permission: Mapped[str] = mapped_column(primary_key=True)


@dataclass(frozen=True, slots=True)
class Shown:
    """What a person is called in one organisation, and its address as it was given there.

    Another tenant may know the same address under another name; neither learns of it (G12).
    """

    name: str
    email: str


@dataclass(frozen=True, slots=True)
class Member:
    """A person with one of its roles, for showing."""

    person_id: PersonId
    name: str
    email: str
    side: str
    role: str
    tenant_id: TenantId | None
    disabled: bool
    service: bool


def address_key(email: str) -> str:
    """The address in lower case, by which a person is known. Raises Invalid."""
    address = email.strip().lower()
    if not _ADDRESS.match(address):
        raise Invalid("that is not an e-mail address", fields={"email": "not an e-mail address"})
    return address


def folded(address: str) -> str:
    """Without a `+tag`: two spellings that most likely reach one mailbox."""
    local, _, domain = address.rpartition("@")
    return f"{local.partition('+')[0]}@{domain}"


def shown_name(person_id: Any, tenant_id: Any) -> sa.ScalarSelect[str]:
    """SQL for what a person is called in a tenant (or the vendor), never what another calls it."""
    held = sa.select(Membership.name).where(
        Membership.person_id == person_id,
        sa.or_(Membership.tenant_id == tenant_id, Membership.tenant_id.is_(None)),
    )
    newest = held.order_by(Membership.ended_at.desc().nulls_first()).limit(1)
    return newest.correlate_except(Membership).scalar_subquery()


def load_permissions(tx: Tx, file: Path) -> None:
    """Make the table of permissions equal to the file."""
    data = tomllib.loads(file.read_text())
    tx.session.execute(sa.delete(RolePermission))
    for side, roles in data.items():
        for role, permissions in roles.items():
            for permission in permissions:
                tx.session.add(RolePermission(side=side, role=role, permission=permission))
    tx.session.flush()
    forget_held(tx)


def check(tx: Tx, permission: str, tenant_id: TenantId | None = None) -> None:
    """Raise unless the actor holds `permission`, for this tenant where one is named.

    A tenant's person asking about another tenant gets NotFound, exactly as for a tenant that does
    not exist (G12). Somebody of the vendor without the permission gets Denied.
    """
    if permission not in _held(tx, tenant_id):
        if tenant_id is not None and tx.actor.side == "tenant" and not _is_member(tx, tenant_id):
            raise NotFound(NOT_THERE)
        raise Denied(f"your role does not allow {permission}", permission=permission)


def may(tx: Tx, permission: str, tenant_id: TenantId | None = None) -> bool:
    return permission in _held(tx, tenant_id)


def _live(tx: Tx) -> sa.Select[Membership]:
    return (
        sa.select(Membership)
        .join(Person, Person.id == Membership.person_id)
        .where(
            Membership.person_id == tx.actor.person_id,
            Membership.ended_at.is_(None),
            Person.disabled_at.is_(None),
        )
    )


def _held(tx: Tx, tenant_id: TenantId | None) -> set[str]:
    """What the actor holds there, less what its token is limited to."""
    if tx.actor.person_id is None:
        return set()
    limits = tx.actor.tenants
    if limits is not None and tenant_id is not None and tenant_id not in limits:
        return set()
    if limits is not None and tenant_id is None:
        return _read_held(tx, None) & _BEFORE_A_TENANT
    return _read_held(tx, tenant_id)


def _read_held(tx: Tx, tenant_id: TenantId | None) -> set[str]:
    """Read once in a transaction: it asks several times, and answers as it did at first."""
    known: dict[tuple[object, ...], set[str]] = tx.session.info.setdefault(_HELD, {})
    where = tenant_id if tx.actor.side == "tenant" else None  # the vendor's hold everywhere
    key = (tx.actor.person_id, tx.actor.side, where)
    if key not in known:
        query = _HELD_IN_TENANT if tx.actor.side == "tenant" else _HELD_QUERY
        asked = {"person": tx.actor.person_id, "tenant": where}
        known[key] = set(tx.session.scalar(query, asked) or ())
    return known[key]


def forget_held(tx: Tx) -> None:
    """After a role or a permission was changed in this transaction."""
    tx.session.flush()
    tx.session.info.pop(_HELD, None)


# Built once: every request asks it.
_person, _membership = Person.__table__.c, Membership.__table__.c
_allowed = RolePermission.__table__.c
_HELD_QUERY = sa.select(sa.func.array_agg(_allowed.permission)).where(
    _membership.person_id == sa.bindparam("person"),
    _membership.ended_at.is_(None),
    _person.id == _membership.person_id,
    _person.disabled_at.is_(None),
    _allowed.role == _membership.role,
    _allowed.side == _membership.side,
)
_HELD_IN_TENANT = _HELD_QUERY.where(_membership.tenant_id == sa.bindparam("tenant"))


def _is_member(tx: Tx, tenant_id: TenantId) -> bool:
    if tx.actor.tenants is not None and tenant_id not in tx.actor.tenants:
        return False
    query = _live(tx).where(Membership.tenant_id == tenant_id).with_only_columns(Membership.id)
    return tx.session.scalar(query) is not None


def held_since(person_id: Any, tenant_id: Any, permission: str, since: Any) -> sa.Exists:
    """SQL for "a role that allows `permission` there was held at `since`, and is now".

    A role that was lost in between and given again does not make up for it.
    """
    allowed = sa.and_(
        RolePermission.role == Membership.role, RolePermission.side == Membership.side
    )
    held = (
        sa.select(Membership.id)
        .join(Person, Person.id == Membership.person_id)
        .join(RolePermission, allowed)
        .where(
            Membership.person_id == person_id,
            Membership.tenant_id == tenant_id,
            Membership.created_at <= since,
            Membership.ended_at.is_(None),
            Person.disabled_at.is_(None),
            RolePermission.permission == permission,
        )
    )
    return held.correlate_except(Membership, Person, RolePermission).exists()


def list_tenants_of_actor(tx: Tx) -> list[TenantId]:
    query = _live(tx).with_only_columns(Membership.tenant_id).distinct()
    mine = [TenantId(t) for t in tx.session.scalars(query) if t is not None]
    return [t for t in mine if tx.actor.tenants is None or t in tx.actor.tenants]


def list_readable(
    tx: Tx, permission: str, tenant_id: TenantId | None = None
) -> Sequence[TenantId] | sa.Select[str]:
    """Which tenants a listing covers: the named one, one's own, or all for the vendor's people."""
    if tenant_id is not None:
        check(tx, permission, tenant_id)
        return [tenant_id]
    if tx.actor.side == "vendor" and tx.actor.tenants is not None:
        for limit in tx.actor.tenants:
            check(tx, permission, limit)
        return sorted(tx.actor.tenants)
    if tx.actor.side == "vendor":
        check(tx, permission)
        return sa.select(sa.column("id", sa.Text)).select_from(sa.table("tenant"))
    return [t for t in list_tenants_of_actor(tx) if may(tx, permission, t)]


def list_permissions(tx: Tx) -> set[str]:
    """All that the actor may do somewhere: for showing menus, never for deciding."""
    if tx.actor.side == "vendor":
        return _read_held(tx, None)
    return {p for t in list_tenants_of_actor(tx) for p in _held(tx, t)}


def add_person(tx: Tx, *, side: str, email: str, name: str) -> PersonId:
    """Make a person, or return the one who has that address. Raises Conflict across the sides."""
    key = address_key(email)
    if not name.strip() or len(name) > 200:
        raise Invalid("a name has 1 to 200 characters", fields={"name": "1 to 200 characters"})
    # A tag makes another person, for it may be another mailbox; but nobody of the vendor becomes
    # a tenant's person by one.
    across = sa.select(Person.id).where(Person.address_fold == folded(key), Person.side != side)
    if tx.session.scalar(across.limit(1)) is not None:
        raise Conflict("this address can't be used here; use another one")
    found = tx.session.scalar(sa.select(Person).where(Person.address_key == key))
    if found is not None:
        return PersonId(found.id)
    person = Person(
        id=new_id("psn"),
        side=side,
        name=name.strip(),
        email=email.strip(),
        address_key=key,
        address_fold=folded(key),
        created_at=tx.at,
        language=_language_of_actor(tx),
    )
    tx.session.add(person)
    tx.session.flush()
    return PersonId(person.id)


def _language_of_actor(tx: Tx) -> str | None:
    """Of who invites: the best guess for an invitation, until the person says otherwise."""
    actor = tx.session.get(Person, tx.actor.person_id) if tx.actor.person_id else None
    return actor.language if actor is not None else None


def add_service(tx: Tx, *, side: str, name: str) -> PersonId:
    """Make the account of a program: without an address, so that nobody signs in as it."""
    if not name.strip() or len(name) > 150:
        raise Invalid("a name has 1 to 150 characters", fields={"name": "1 to 150 characters"})
    identity = new_id("psn")
    key = f"service:{identity}"  # no address holds a colon
    person = Person(
        id=identity,
        side=side,
        name=f"{name.strip()} (service)",  # whoever decides sees that no human asks
        email="",
        address_key=key,
        address_fold=key,
        created_at=tx.at,
        service=True,
    )
    tx.session.add(person)
    tx.session.flush()
    return PersonId(identity)


def find_service(tx: Tx, person_id: str) -> Membership | None:
    """The role that a program's account holds; None for a person, and for none."""
    query = sa.select(Membership).join(Person, Person.id == Membership.person_id)
    held = query.where(
        Membership.person_id == person_id, Membership.ended_at.is_(None), Person.service
    )
    return tx.session.scalar(held.limit(1))


def add_membership(
    tx: Tx,
    person_id: PersonId,
    role: str,
    tenant_id: TenantId | None,
    *,
    shown: Shown | None = None,
    kind: str = "member.added",
) -> None:
    """Give a role, in the vendor (`tenant_id` None) or in a tenant. Raises Invalid, Conflict."""
    side = "vendor" if tenant_id is None else "tenant"
    allowed = VENDOR_ROLES if tenant_id is None else TENANT_ROLES
    if role not in allowed:
        raise Invalid(f"the role must be one of {', '.join(allowed)}", fields={"role": "unknown"})
    person = get_person(tx, person_id)
    # Waits for an erasure under way, so that no name is written after it.
    tx.session.refresh(person, with_for_update={"read": True})
    if person.disabled_at is not None:
        raise Conflict("this account was shut out; it can be given no role")
    if person.side != side:
        raise Conflict("a person of the vendor can hold no role in a tenant, nor the reverse")
    if shown is None:
        shown = Shown(person.name, person.email)
    tx.session.add(
        Membership(
            person_id=person_id,
            side=side,
            tenant_id=tenant_id,
            role=role,
            name=shown.name,
            email=shown.email,
            created_at=tx.at,
        )
    )
    tx.session.flush()
    forget_held(tx)
    personal = [
        Personal("name", shown.name, person_id),
        Personal("email", shown.email, person_id),
    ]
    trail.record(tx, tenant_id, kind, person_id, {"role": role}, personal)


def end_membership(tx: Tx, person_id: PersonId, tenant_id: TenantId | None) -> None:
    """End all roles of a person there; refused for a tenant's last admin.

    One at a time in a tenant: two admins who remove each other would leave none.
    """
    if tenant_id is not None:
        tx.session.execute(sa.text("SELECT FROM tenant WHERE id = :t FOR UPDATE"), {"t": tenant_id})
    rows = tx.session.scalars(
        sa.select(Membership).where(
            Membership.tenant_id.is_not_distinct_from(tenant_id), Membership.ended_at.is_(None)
        )
    ).all()
    mine = [row for row in rows if row.person_id == person_id]
    if not mine:
        raise NotFound("this person has no role here")
    others = [row for row in rows if row.person_id != person_id and row.role == "admin"]
    if tenant_id is not None and any(row.role == "admin" for row in mine) and not others:
        raise Conflict("the last admin can't be removed; make another admin first")
    for row in mine:
        row.ended_at = tx.at
    forget_held(tx)
    trail.record(tx, tenant_id, "member.removed", person_id, {"roles": [r.role for r in mine]})


def end_memberships_of_left(tx: Tx, person_id: PersonId, tenant_id: TenantId) -> None:
    """End all roles of a person in a tenant that left, also of its last admin."""
    rows = tx.session.scalars(
        sa.select(Membership).where(
            Membership.tenant_id == tenant_id,
            Membership.person_id == person_id,
            Membership.ended_at.is_(None),
        )
    ).all()
    for row in rows:
        row.ended_at = tx.at
    forget_held(tx)
    if rows:
        trail.record(tx, tenant_id, "member.removed", person_id, {"roles": [r.role for r in rows]})


def disable_person(tx: Tx, person_id: PersonId) -> None:
    """The person can do nothing from now on; what it asked for is ended by the sweep."""
    person = get_person(tx, person_id)
    if person.disabled_at is None:
        person.disabled_at = tx.at
        forget_held(tx)
        memberships = tx.session.scalars(
            sa.select(Membership.tenant_id).where(Membership.person_id == person_id).distinct()
        )
        for tenant_id in memberships:
            trail.record(
                tx, TenantId(tenant_id) if tenant_id else None, "person.disabled", person_id
            )


def is_member(tx: Tx, person_id: str, tenant_id: TenantId | None) -> bool:
    """Whether the person has a role now: in a tenant, or in the vendor when that is None."""
    held = sa.select(Membership.id).where(
        Membership.person_id == person_id,
        Membership.tenant_id.is_not_distinct_from(tenant_id),
        Membership.ended_at.is_(None),
    )
    return tx.session.scalar(held.limit(1)) is not None


def find_vendors(tx: Tx, address: str) -> PersonId | None:
    """The vendor's person who signs in with this very address; no program, nobody disabled."""
    found = tx.session.scalar(
        sa.select(Person.id).where(
            Person.address_key == address.strip().lower(),
            Person.side == "vendor",
            Person.service.is_(False),
            Person.disabled_at.is_(None),
        )
    )
    return None if found is None else PersonId(found)


def get_person(tx: Tx, person_id: str) -> Person:
    person = tx.session.get(Person, person_id)
    if person is None:
        raise NotFound("there is no such person")
    return person


def list_members(tx: Tx, tenant_id: TenantId | None) -> list[Member]:
    rows = tx.session.execute(
        sa.select(Person, Membership)
        .join(Membership, Membership.person_id == Person.id)
        .where(Membership.tenant_id.is_not_distinct_from(tenant_id), Membership.ended_at.is_(None))
        .order_by(Membership.name, Membership.role)
    )
    return [
        Member(
            PersonId(person.id),
            held.name,
            held.email,
            held.side,
            held.role,
            TenantId(held.tenant_id) if held.tenant_id else None,
            person.disabled_at is not None,
            person.service,
        )
        for person, held in rows
    ]


def list_recipients(tx: Tx, tenant_id: TenantId | None, roles: Sequence[str]) -> list[PersonId]:
    """People of a tenant, or of the vendor, with one of the roles, who are not disabled."""
    rows = tx.session.scalars(
        sa.select(Person.id)
        .join(Membership, Membership.person_id == Person.id)
        .where(
            Membership.tenant_id.is_not_distinct_from(tenant_id),
            Membership.role.in_(roles),
            Membership.ended_at.is_(None),
            Person.disabled_at.is_(None),
            Person.service.is_(False),
        )
        .distinct()
    )
    return [PersonId(row) for row in rows]
