"""Mails: written in the transaction of the act, sent by the queue, retried until they went out.

A mail names a page, never a link that acts. Its text holds no more than it needs, in its reader's
language; an invitation's code is made when the mail is sent, so that no secret lies in the control
database. A mail server that does not answer costs one wait in each run, and nothing else waits.
"""

from __future__ import annotations

import smtplib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from broker import composing, people, retries, signin
from broker.db import Base, Database, Retried
from broker.ids import PersonId, TenantId
from broker.letters import DECLINABLE, Letter, Reader, render
from broker.people import Person
from broker.settings import Settings
from broker.tx import Tx, system

_BATCH = 20
_UNSENT_SHOWN = 100
TIMEOUT_S = 10  # for each answer of the mail server's


class Mail(Base, Retried):
    """`attachment` is a certificate's id: its envelope is attached at sending. `page` is a path on
    the console; `thread` is what a mail program shows together.
    """

    __tablename__ = "mail"
    id: Mapped[int] = mapped_column(sa.Identity(always=True), primary_key=True)
    person_id: Mapped[str] = mapped_column(sa.ForeignKey("person.id"))
    tenant_id: Mapped[str | None] = mapped_column(sa.ForeignKey("tenant.id"))
    subject: Mapped[str]
    text: Mapped[str]
    invitation_id: Mapped[str | None] = mapped_column(sa.ForeignKey("invitation.id"))
    attachment: Mapped[str | None]
    about_rights: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]
    kind: Mapped[str] = mapped_column(default="administrative")
    page: Mapped[str] = mapped_column(default="")
    thread: Mapped[str] = mapped_column(default="")


def write(tx: Tx, person_id: PersonId, tenant_id: TenantId | None, letter: Letter) -> None:
    """Put a mail on the list, in its reader's language; the sweep sends it.

    A program's account has no address: none. What a person declined is not written.
    """
    person = tx.session.get_one(Person, person_id)
    declined = letter.kind in DECLINABLE and letter.kind in person.declined_notices
    if person.service or declined:
        return
    reader = Reader(person.language or "en", person.zone)
    tx.session.add(
        Mail(
            person_id=person_id,
            tenant_id=tenant_id,
            subject=" ".join(render(letter.subject, reader).split())[:200],
            text="\n\n".join(render(one, reader) for one in letter.paragraphs),
            invitation_id=letter.invitation_id,
            attachment=letter.attachment,
            about_rights=letter.about_rights,
            created_at=tx.at,
            next_try_at=tx.at,
            kind=letter.kind,
            page=letter.page,
            thread=letter.thread,
        )
    )


def write_to_roles(
    tx: Tx, tenant_id: TenantId | None, roles: Sequence[str], letter: Letter
) -> None:
    """To all of a tenant's people, or of the vendor's, who have one of the roles."""
    for person_id in people.list_recipients(tx, tenant_id, roles):
        write(tx, person_id, tenant_id, letter)


def forget_person(tx: Tx, person_id: PersonId) -> None:
    """Delete every mail to this person, sent or not."""
    tx.session.execute(sa.delete(Mail).where(Mail.person_id == person_id))


@dataclass(frozen=True, slots=True)
class Unsent:
    """A mail that its server did not take, and that is tried again; whose it is stays unsaid."""

    kind: str
    tenant_id: str | None
    since: datetime
    attempts: int
    reason: str


def list_unsent(tx: Tx) -> list[Unsent]:
    """The longest first, at most 100. Raises Denied to who may not read the broker's health."""
    people.check(tx, "health:read")
    rows = tx.session.scalars(
        sa.select(Mail)
        .where(Mail.sent_at.is_(None), Mail.stuck_since.is_not(None))
        .order_by(Mail.stuck_since)
        .limit(_UNSENT_SHOWN)
    )
    return [
        Unsent(row.kind, row.tenant_id, row.created_at, row.attempts, row.stuck_reason or "")
        for row in rows
    ]


def send_due(
    database: Database, settings: Settings, read_attachment: Callable[[Tx, str], bytes]
) -> int:
    """Send what is due, each in a transaction of its own; returns how many went out.

    A crash between sending and commit sends a mail twice, never not at all.
    """
    sent = 0
    for _ in range(_BATCH):
        with database.begin(system("mail")) as tx:
            row = _take_due(tx)
            if row is None:
                return sent
            try:
                _send(tx, row, settings, read_attachment)
            except smtplib.SMTPException as error:
                retries.note_failure(row, tx.at, _say_refusal(error))
            except OSError as error:
                retries.note_failure(row, tx.at, f"the mail server gave {type(error).__name__}")
                return sent  # it would not answer for the others either
            else:
                row.sent_at = tx.at
                retries.note_success(row)
                sent += 1
    return sent


def _take_due(tx: Tx) -> Mail | None:
    return tx.session.scalar(
        sa.select(Mail)
        .where(Mail.sent_at.is_(None), Mail.next_try_at <= tx.at, _may_be_sent())
        .order_by(Mail.next_try_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    )


def _may_be_sent() -> sa.ColumnElement[bool]:
    """Who is restricted (GDPR 18) is written to about their own rights alone; the rest waits."""
    restricted = sa.select(Person.id).where(
        Person.id == Mail.person_id, Person.restricted_at.is_not(None)
    )
    return sa.or_(Mail.about_rights, ~restricted.exists())


def _say_refusal(error: smtplib.SMTPException) -> str:
    """What the server answered, by its code: its words may hold an address."""
    codes = [error.smtp_code] if isinstance(error, smtplib.SMTPResponseException) else []
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        codes = [code for code, _ in error.recipients.values()]
        return f"the mail server refused the address: {', '.join(map(str, codes))}"
    return f"the mail server gave {', '.join(map(str, codes)) or type(error).__name__}"


def _send(
    tx: Tx, row: Mail, settings: Settings, read_attachment: Callable[[Tx, str], bytes]
) -> None:
    person = tx.session.get_one(Person, row.person_id)
    text = row.text
    if row.invitation_id is not None:
        text = text.replace("{code}", signin.issue_code(tx, row.invitation_id).reveal())
    message = composing.compose(
        composing.Ready(
            number=row.id,
            to=person.email,
            language=person.language or "en",
            subject=row.subject,
            text=text,
            kind=row.kind,
            page=row.page,
            thread=row.thread,
            at=tx.at,
        ),
        sender=settings.mail.sender,
        public_url=settings.web.public_url,
    )
    if row.attachment is not None:
        message.add_attachment(
            read_attachment(tx, row.attachment),
            maintype="application",
            subtype="json",
            filename=f"{row.attachment}.dsse.json",
        )
    with smtplib.SMTP(settings.mail.host, settings.mail.port, timeout=TIMEOUT_S) as server:
        if settings.mail.tls:
            server.starttls()
        server.send_message(message)
