"""Mails: written in the transaction of the act, sent by the queue, retried until they went out.

A mail names a page, never a link that acts. Its text holds no more than it needs; an invitation's
code is made when the mail is sent, so that no secret lies in the control database.
"""

from __future__ import annotations

import smtplib
from collections.abc import Callable
from datetime import datetime
from email.message import EmailMessage

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from broker import retries, signin
from broker.db import Base, Database, Retried
from broker.ids import PersonId, TenantId
from broker.people import Person
from broker.settings import Mail as MailSettings
from broker.tx import Tx, system

_BATCH = 20
TIMEOUT_S = 10  # for each answer of the mail server's


class Mail(Base, Retried):
    """`attachment` is a certificate's id: its envelope is attached at sending."""

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


def write(
    tx: Tx,
    person_id: PersonId,
    tenant_id: TenantId | None,
    subject: str,
    text: str,
    *,
    invitation_id: str | None = None,
    attachment: str | None = None,
    about_rights: bool = False,
) -> None:
    """Put a mail on the list; the sweep sends it. A program's account has no address: none."""
    if tx.session.get_one(Person, person_id).service:
        return
    tx.session.add(
        Mail(
            person_id=person_id,
            tenant_id=tenant_id,
            subject=" ".join(subject.split())[:200],
            text=text,
            invitation_id=invitation_id,
            attachment=attachment,
            about_rights=about_rights,
            created_at=tx.at,
            next_try_at=tx.at,
        )
    )


def forget_person(tx: Tx, person_id: PersonId) -> None:
    """Delete every mail to this person, sent or not."""
    tx.session.execute(sa.delete(Mail).where(Mail.person_id == person_id))


def send_due(
    database: Database, settings: MailSettings, read_attachment: Callable[[Tx, str], bytes]
) -> int:
    """Send what is due, each in a transaction of its own; returns how many went out.

    A crash between sending and commit sends a mail twice, never not at all.
    """
    sent = 0
    for _ in range(_BATCH):
        with database.begin(system("mail")) as tx:
            row = tx.session.scalar(
                sa.select(Mail)
                .where(Mail.sent_at.is_(None), Mail.next_try_at <= tx.at, _may_be_sent())
                .order_by(Mail.next_try_at)
                .limit(1)
                .with_for_update(skip_locked=True)
            )
            if row is None:
                return sent
            try:
                _send(tx, row, settings, read_attachment)
            except (OSError, smtplib.SMTPException) as error:
                retries.note_failure(row, tx.at, type(error).__name__)
            else:
                row.sent_at = tx.at
                retries.note_success(row)
                sent += 1
    return sent


def _may_be_sent() -> sa.ColumnElement[bool]:
    """Who is restricted (GDPR 18) is written to about their own rights alone; the rest waits."""
    restricted = sa.select(Person.id).where(
        Person.id == Mail.person_id, Person.restricted_at.is_not(None)
    )
    return sa.or_(Mail.about_rights, ~restricted.exists())


def _send(
    tx: Tx, row: Mail, settings: MailSettings, read_attachment: Callable[[Tx, str], bytes]
) -> None:
    person = tx.session.get_one(Person, row.person_id)
    message = EmailMessage()
    message["From"], message["To"] = settings.sender, person.email
    message["Subject"] = row.subject
    message["Auto-Submitted"] = "auto-generated"
    text = row.text
    if row.invitation_id is not None:
        text = text.replace("{code}", signin.issue_code(tx, row.invitation_id).reveal())
    message.set_content(text)
    if row.attachment is not None:
        message.add_attachment(
            read_attachment(tx, row.attachment),
            maintype="application",
            subtype="json",
            filename=f"{row.attachment}.dsse.json",
        )
    with smtplib.SMTP(settings.host, settings.port, timeout=TIMEOUT_S) as server:
        if settings.tls:
            server.starttls()
        server.send_message(message)
