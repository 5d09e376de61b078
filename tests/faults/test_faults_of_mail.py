"""A mail server that misbehaves while certificates go out: a real one, behind a door.

What a certificate says never hangs on it: it stands in the log, on its page and in the API.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
import sqlalchemy as sa
from aiosmtpd.controller import UnixSocketController
from aiosmtpd.smtp import SMTP, Envelope, Session

from broker import mail
from broker.mail import Mail
from broker.settings import Mail as MailSettings
from broker.snapshots import certificates
from broker.tx import system
from tests.faults.behind import Behind
from tests.faults.door import (
    Cut,
    Door,
    Fault,
    Hung,
    Refused,
    SaidDone,
    SaidFailed,
    Slow,
    door_of_tcp,
    to_socket,
)
from tests.stories import skip

pytestmark = pytest.mark.long


@dataclass
class Letterbox:
    """Takes every mail, and keeps its subject."""

    subjects: list[str] = field(default_factory=list)

    async def handle_DATA(self, _: SMTP, __: Session, envelope: Envelope) -> str:  # noqa: N802
        text = (envelope.content or b"").decode() if isinstance(envelope.content, bytes) else ""
        head = [line for line in text.splitlines() if line.startswith("Subject: ")]
        self.subjects.append(head[0])
        return "250 taken"


@dataclass
class Post:
    box: Letterbox
    door: Door
    settings: MailSettings


@pytest.fixture(scope="module")
def post(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Post]:
    box, path = Letterbox(), tmp_path_factory.mktemp("post") / "smtp"
    server = UnixSocketController(box, unix_socket=str(path))
    server.start()
    with door_of_tcp(to_socket(path)) as (door, port):
        yield Post(box, door, MailSettings(host="127.0.0.1", port=port, tls=False))
    server.stop()


# Words as `smtplib` sends them.
FAULTS: dict[str, Callable[[], list[Fault]]] = {
    "refused": lambda: [Refused()],
    "hung": lambda: [Hung(), Hung(b"data\r\n")],
    "cut at byte n": lambda: [Cut(n) for n in (0, 5, 60, 120)],
    "out of space": lambda: [SaidDone(b"mail FROM", b"452 4.3.1 insufficient storage\r\n")],
    "read-only": lambda: [SaidDone(b"mail FROM", b"550 5.7.1 no mail is taken\r\n")],
    "slow": lambda: [Slow()],
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_certificate_is_there_and_its_mail_is_sent_when_the_mail_server_takes_it(
    behind: Behind, post: Post, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(mail, "TIMEOUT_S", 0.5)
    snapshot_id = certified(behind)
    for number, wrong in enumerate(FAULTS[fault](), start=1):
        with post.door.misbehaving(wrong):
            send(behind, post, number)
        sent = any(snapshot_id in subject for subject in post.box.subjects)
        assert sent or waiting(behind, snapshot_id)
    assert sent == (fault == "slow")
    assert behind.is_certified(snapshot_id)
    send(behind, post, 10)
    assert waiting(behind, snapshot_id) == 0
    assert any(snapshot_id in subject for subject in post.box.subjects)


def test_a_mail_that_was_taken_and_said_refused_comes_twice_and_never_not_at_all(
    behind: Behind, post: Post
) -> None:
    snapshot_id = certified(behind)
    with post.door.misbehaving(SaidFailed(b"\r\n.\r\n")):
        send(behind, post, 1)
    assert waiting(behind, snapshot_id) > 0
    send(behind, post, 10)
    assert waiting(behind, snapshot_id) == 0


def certified(behind: Behind) -> str:
    snapshot_id = behind.condemned()
    behind.finish(snapshot_id)
    return snapshot_id


def send(behind: Behind, post: Post, later: int) -> None:
    """As the sweep of mails does, after the longest wait between two tries."""
    skip(behind.world, timedelta(seconds=301 * later))
    broker = behind.world.broker
    settings = broker.settings.model_copy(update={"mail": post.settings})
    while mail.send_due(broker.database, settings, certificates.read_attachment):
        pass
    skip(behind.world, timedelta(0))


def waiting(behind: Behind, snapshot_id: str) -> int:
    about = Mail.sent_at.is_(None), Mail.subject.contains(snapshot_id)
    with behind.world.as_(system("tests")) as tx:
        return tx.session.scalar(sa.select(sa.func.count()).where(*about)) or 0
