"""The mail catcher keeps each mail as it came."""

from __future__ import annotations

import smtplib
import socket
from email.message import EmailMessage
from pathlib import Path

import pytest

from broker.demo.mail_catcher import HOST, MailCatcher


def mail(subject: str) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"] = "broker@vendor.test", "admin@tenant.test"
    message["Subject"] = subject
    message.set_content("Une copie a été détruite.\n.\nFin.\n")
    message.add_attachment(b"\x00\xff", maintype="application", subtype="pdf", filename="c.pdf")
    return message


def send(catcher: MailCatcher, *subjects: str) -> None:
    with smtplib.SMTP(HOST, catcher.port, timeout=10) as client:
        for subject in subjects:
            client.send_message(mail(subject))


def test_mails_are_kept_whole_and_in_order(tmp_path: Path) -> None:
    with MailCatcher(tmp_path / "mails") as catcher:
        send(catcher, "Copie détruite", "Second")
        send(catcher, "Third")
        assert [m["Subject"] for m in catcher.messages()] == ["Copie détruite", "Second", "Third"]
    body, attachment = catcher.messages()[0].iter_parts()
    assert body.get_content().replace("\r\n", "\n") == "Une copie a été détruite.\n.\nFin.\n"
    assert attachment.get_content() == b"\x00\xff"
    assert len(list((tmp_path / "mails").iterdir())) == 3


def test_a_folder_is_continued(tmp_path: Path) -> None:
    for subject in ("before", "after"):
        with MailCatcher(tmp_path) as catcher:
            send(catcher, subject)
    assert [m["Subject"] for m in catcher.messages()] == ["before", "after"]


def test_nothing_listens_after_the_block_even_if_a_client_stayed(tmp_path: Path) -> None:
    with MailCatcher(tmp_path) as catcher:
        client = smtplib.SMTP(HOST, catcher.port, timeout=10)
        client.noop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, catcher.port), timeout=10)
    client.close()
