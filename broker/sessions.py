"""Sessions of the console: rows, found by the digest of what the browser's cookie holds.

What must stay true: only the digest is kept; a session ends when it is idle for too long, too old,
or its person is shut out, whatever the browser still holds.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from broker import trail
from broker.accounts import digest, record_for_all
from broker.db import Base
from broker.errors import NotFound
from broker.ids import PersonId, TenantId, TokenId, new_id
from broker.people import Person
from broker.secret import Secret
from broker.settings import Times
from broker.tx import Actor, Tx


class WebSession(Base):
    __tablename__ = "web_session"
    id: Mapped[str] = mapped_column(primary_key=True)
    person_id: Mapped[str] = mapped_column(sa.ForeignKey("person.id"))
    token_digest: Mapped[bytes] = mapped_column(unique=True)
    via: Mapped[str]
    created_at: Mapped[datetime]
    authenticated_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    provider_id: Mapped[str | None]  # of `oidc`: through whose service it was opened
    provider_sid: Mapped[str | None]
    provider_subject: Mapped[str | None]
    tenant_id: Mapped[str | None] = mapped_column(sa.ForeignKey("tenant.id"))  # limited to it


@dataclass(frozen=True, slots=True)
class Bound:
    """Of a session that an organisation's own service opened: by what that service ends it, and to
    which tenant it is limited (None: the vendor's). `authenticated_at` is the service's word.
    """

    provider_id: str
    tenant_id: TenantId | None
    subject: str
    sid: str | None
    authenticated_at: datetime


@dataclass(frozen=True, slots=True)
class SignedIn:
    """Who is behind a session or token, and how recently the person proved it."""

    actor: Actor
    name: str
    session_id: str | None
    authenticated_at: datetime
    use_unnoted: bool = False  # of a token: its last use should be written down again
    token_id: TokenId | None = None
    scopes: frozenset[str] | None = None  # of a token: what it may do beside reading; None: all
    provider_id: str | None = None


def open_session(tx: Tx, person: Person, via: str, bound: Bound | None = None) -> Secret[str]:
    """`via` is how the person proved who they are: `password`, `passkey`, `code`, which is a
    password with a code beside it, or `organisation`, whose service is then `bound`.
    """
    token = Secret(secrets.token_urlsafe(32))
    row = WebSession(
        id=new_id("ses"),
        person_id=person.id,
        token_digest=digest(token),
        via=via,
        created_at=tx.at,
        authenticated_at=tx.at,
        seen_at=tx.at,
    )
    tx.session.add(row)
    if bound is None:
        record_for_all(tx, person, "person.signed_in", facts={"with": via})
        return token
    row.provider_id, row.tenant_id = bound.provider_id, bound.tenant_id
    row.provider_sid, row.provider_subject = bound.sid, bound.subject
    row.authenticated_at = bound.authenticated_at
    # In this organisation's log alone: another must not learn of it (G12).
    trail.record(tx, bound.tenant_id, "person.signed_in", person.id, {"with": via})
    return token


def find_person(tx: Tx, session_id: str) -> PersonId:
    return PersonId(tx.session.get_one(WebSession, session_id).person_id)


def note_confirmed(tx: Tx, session_id: str, via: str) -> None:
    tx.session.execute(
        sa.update(WebSession)
        .where(WebSession.id == session_id, WebSession.ended_at.is_(None))
        .values(authenticated_at=tx.at, via=via)
    )


def find_session(
    tx: Tx, token: Secret[str], times: Times, *, touch: bool = True
) -> SignedIn | None:
    """Who this session belongs to, if it is neither ended, idle for too long, nor too old.

    `touch=False` is for what a page asks by itself: a page left open must not keep a session alive.
    """
    row = tx.session.execute(
        sa.select(WebSession, Person)
        .join(Person, Person.id == WebSession.person_id)
        .where(WebSession.token_digest == digest(token), WebSession.ended_at.is_(None))
    ).first()
    if row is None:
        return None
    session, person = row
    idle = tx.at - session.seen_at > timedelta(seconds=times.session_idle_s)
    old = tx.at - session.created_at > timedelta(seconds=times.session_max_s)
    if idle or old or person.disabled_at is not None:
        return None
    if touch:
        session.seen_at = tx.at
    limits = frozenset({TenantId(session.tenant_id)}) if session.tenant_id else None
    actor = Actor(person.side, session.via, PersonId(person.id), tenants=limits)
    name = person.name
    return SignedIn(
        actor, name, session.id, session.authenticated_at, provider_id=session.provider_id
    )


def end_session(tx: Tx, token: Secret[str]) -> None:
    tx.session.execute(
        sa.update(WebSession)
        .where(WebSession.token_digest == digest(token), WebSession.ended_at.is_(None))
        .values(ended_at=tx.at)
    )


def list_sessions(tx: Tx, times: Times) -> Sequence[WebSession]:
    """The actor's own that are open now, last used first."""
    query = sa.select(WebSession).where(
        WebSession.person_id == tx.actor.person_id,
        WebSession.ended_at.is_(None),
        WebSession.seen_at >= tx.at - timedelta(seconds=times.session_idle_s),
        WebSession.created_at >= tx.at - timedelta(seconds=times.session_max_s),
    )
    return tx.session.scalars(query.order_by(WebSession.seen_at.desc())).all()


def end_own_session(tx: Tx, session_id: str) -> None:
    """End one of the actor's sessions, on whatever device. Raises NotFound."""
    row = tx.session.get(WebSession, session_id)
    if row is None or row.person_id != tx.actor.person_id:
        raise NotFound("there is no such session")
    row.ended_at = row.ended_at or tx.at


def end_sessions(tx: Tx, person_id: PersonId) -> None:
    tx.session.execute(
        sa.update(WebSession)
        .where(WebSession.person_id == person_id, WebSession.ended_at.is_(None))
        .values(ended_at=tx.at)
    )
