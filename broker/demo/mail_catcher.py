"""Catches the mails of the demo and of tests: an SMTP server on loopback, one file per mail.

Nothing is ever sent on. It needs aiosmtpd, which only the development requirements hold.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import AbstractContextManager
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from aiosmtpd.smtp import SMTP, Envelope, Session

HOST = "127.0.0.1"


class MailCatcher(AbstractContextManager["MailCatcher"]):
    """Within the block, mails sent to `HOST`:`port` are files `000001.eml` and on in `folder`.

    >>> with MailCatcher(Path("mails")) as catcher:  # doctest: +SKIP
    ...     smtplib.SMTP(HOST, catcher.port).send_message(message)
    ...     catcher.messages()[0]["Subject"]
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def messages(self) -> list[EmailMessage]:
        """All mails in `folder`, oldest first; also after the block."""
        return [
            message_from_bytes(path.read_bytes(), _class=EmailMessage, policy=policy.default)
            for path in sorted(self.folder.glob("*.eml"))
        ]

    async def _listen(self) -> asyncio.Server:
        # aiosmtpd's own controller can't say which port it was given, so the loop is ours.
        from aiosmtpd.smtp import SMTP

        return await self._loop.create_server(
            lambda: SMTP(_Keeper(self.folder), loop=self._loop, hostname="mail.test"), HOST, 0
        )

    async def _close(self) -> None:
        self._server.close()
        sessions = asyncio.all_tasks() - {asyncio.current_task()}
        for session in sessions:
            session.cancel()
        await asyncio.gather(*sessions, return_exceptions=True)


class _Keeper:
    """What aiosmtpd calls with each mail; on one loop, so mails come one at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802  # aiosmtpd's name
        number = max((int(path.stem) for path in self._folder.glob("*.eml")), default=0) + 1
        part = self._folder / f"{number:06}.part"
        part.write_bytes(envelope.original_content or b"")
        part.rename(part.with_suffix(".eml"))  # seen whole or not at all
        return "250 kept"
