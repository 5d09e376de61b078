"""How every driver talks to its ticket system: bounded, over TLS, to one address and nowhere else.

What must stay true: only a whole answer says anything; a broken proxy, a sign-in page, a drip or a
flood is TicketSystemUnavailable. The login goes to the one base address, is never sent after a
redirect, and stands in no error.
"""

from __future__ import annotations

import contextlib
import html
import ipaddress
import json
import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import httpx

from broker.errors import Invalid, SettingsError
from broker.secret import Secret
from broker.tickets import (
    CommentRefused,
    FetchedTicket,
    Remark,
    TicketSystemUnavailable,
    find_word,
    is_command,
)

Json = dict[str, Any]
Query = Mapping[str, str | list[str]]

MAX_BYTES = 4 << 20  # of an answer: a hundred tickets
_STEP_S = 5.0  # to connect, or for the next bytes
_WHOLE_S = 20.0  # for an answer to end, or bytes that drip would hold a worker for ever
_MARK_LENGTH = 64
_MOST_WAIT_S = 3600  # however long a system asks for, it is asked again after this
ID = re.compile(r"\A[A-Za-z0-9][A-Za-z0-9._:-]{0,127}\Z")
_WORD = re.compile(r"\A[\x21-\x7e]+\Z")  # any other makes errors that quote it
NOT_OURS = frozenset({403, 404, 410})
_OK = frozenset({200})
_NO_COMMENT = frozenset({400, 403, 404, 405, 409, 410, 422, 501})


class Client:
    """`login` is the whole value of one header, `login_header`. `transport` is for tests and for a
    proxy. Safe among threads.
    """

    def __init__(
        self,
        base_url: str,
        login: Secret[str],
        *,
        login_header: str = "Authorization",
        accept: str = "application/json",
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Raises SettingsError for an address without TLS."""
        check_base_url(base_url)
        self.base_url = base_url.rstrip("/")
        self._login, self._login_header = login, login_header
        self._headers = {
            "Accept": accept,
            "Accept-Encoding": "identity",  # a packed megabyte could be a gigabyte
        }
        self._client = httpx.Client(
            timeout=_STEP_S,
            follow_redirects=False,  # the login would follow
            trust_env=False,  # a .netrc or proxy variable would replace or receive the login
            transport=transport,
        )

    def close(self) -> None:
        self._client.close()

    def get(
        self,
        path: str,
        query: Query | None = None,
        *,
        none_for: Collection[int] = NOT_OURS,
    ) -> object | None:
        """The JSON of a 200, None for an answer that says "not for you"; an empty object, which is
        never enough, for what is no JSON.
        """
        status, content = self._send("GET", path, query=query)
        if status in none_for:
            return None
        if status != httpx.codes.OK:
            raise unavailable(f"answered {status}")
        return parse(content)

    def ask(
        self,
        path: str,
        document: object = None,
        *,
        form: Mapping[str, str] | None = None,
        none_for: Collection[int] = NOT_OURS,
        read_for: Collection[int] = _OK,
    ) -> object | None:
        """As `get`, for what is read by a POST; `read_for` are answers that say something."""
        status, content = self._send("POST", path, document=document, form=form)
        if status in none_for:
            return None
        if status not in read_for:
            raise unavailable(f"answered {status}")
        return parse(content)

    def log_in(self, login: Secret[str]) -> None:
        """Take another login from now on: of those that the system gives for a time."""
        self._login = login

    def find_status(self, path: str) -> int:
        """How a GET is answered, whatever it says."""
        return self._send("GET", path)[0]

    def post(self, path: str, document: object, headers: Mapping[str, str] | None = None) -> object:
        """The JSON of a 2xx. Raises CommentRefused for an answer that will be the same again."""
        status, content = self._send("POST", path, document=document, headers=headers)
        return _read_written(status, content)

    def put(self, path: str, document: object) -> object:
        """As `post`."""
        return _read_written(*self._send("PUT", path, document=document))

    def _send(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        document: object = None,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        end = time.monotonic() + _WHOLE_S
        sent = {**self._headers, **(headers or {}), self._login_header: self._login.reveal()}
        try:
            with self._client.stream(
                method,
                f"{self.base_url}{path}",
                params=query,
                json=document,
                data=form,
                headers=sent,
            ) as answer:
                if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
                    raise _busy(answer)
                return answer.status_code, _read_bounded(answer, end)
        except httpx.HTTPError as error:
            # Only the kind: the text of some of these errors quotes what was sent.
            raise unavailable(f"did not answer well ({type(error).__name__})") from None


def _read_written(status: int, content: bytes) -> object:
    if status in _NO_COMMENT:
        raise CommentRefused(f"the ticket system answered {status} to what was to be written")
    if not httpx.codes.is_success(status):
        raise unavailable(f"answered {status}")
    return parse(content)


def unavailable(what: str, **facts: int) -> TicketSystemUnavailable:
    return TicketSystemUnavailable(
        f"the ticket system {what}; no ticket's state is known from it", **facts
    )


def _busy(answer: httpx.Response) -> TicketSystemUnavailable:
    """Retry-After in seconds (RFC 9110, 10.2.3); the other form, a date, is of their clock."""
    asked = answer.headers.get("Retry-After", "")
    wait_s = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 10 else 60
    return unavailable("asks us to wait", retry_after_s=min(wait_s, _MOST_WAIT_S))


def _read_bounded(answer: httpx.Response, end: float) -> bytes:
    content = bytearray()
    for block in answer.iter_raw():
        content += block
        if len(content) > MAX_BYTES:
            raise unavailable("sent too much")
        if time.monotonic() > end:
            raise unavailable("answered too slowly")
    return bytes(content)


def parse(content: bytes) -> object:
    """The JSON; an empty object, which is never enough, for anything else."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):  # also text that is no UTF-8
        return {}


def as_object(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def text_of(value: object) -> str | None:
    """A text that is not empty, or a whole number as one; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return str(value) or None


def word_of(value: object) -> str | None:
    """A severity or category; a ticket without it is that ticket, and meets no condition."""
    text = text_of(value)
    return None if text is None else find_word(text)


def mark_of(value: object) -> str | None:
    """See `FetchedTicket.reopened`."""
    return (text_of(value) or "")[:_MARK_LENGTH] or None


def read_each(
    external_ids: Sequence[str],
    shown: Mapping[str, Json],
    read: Callable[[Json, str], FetchedTicket],
) -> dict[str, FetchedTicket]:
    """What a list shows of those asked for; what it shows badly is as if it were left out."""
    found = {}
    for external_id in external_ids:
        if external_id in shown:
            with contextlib.suppress(TicketSystemUnavailable):
                found[external_id] = read(shown[external_id], external_id)
    return found


def read_remarks(
    found: Iterable[Json], names: Mapping[str, str], author: Callable[[Json], object]
) -> list[Remark]:
    """Of these comments those that speak to us. `names` says how the system calls `id`, `text` and
    `at`; `author` is asked for each of them alone. One that is not whole is passed over.
    """
    remarks = []
    for one in found:
        identity, text = text_of(one.get(names["id"])), one.get(names["text"])
        at = _instant_of(one.get(names["at"]))
        if identity is None or at is None or not isinstance(text, str) or not is_command(text):
            continue
        remarks.append(Remark(identity[:_MARK_LENGTH], text_of(author(one)) or "", text, at))
    return remarks


def _instant_of(value: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return at if at is not None and at.tzinfo is not None else None


def as_html(text: str) -> str:
    """Plain text for systems whose comments are HTML."""
    return html.escape(text).replace("\n", "<br>")


def link_of(url: object) -> str | None:
    """Only what is safe to click; a ticket without its link is still that ticket."""
    if isinstance(url, str) and url.startswith(("https://", "http://")):
        return url
    return None


def check_id(external_id: str, shape: re.Pattern[str] = ID) -> str:
    """Raises Invalid when this can't be the id of a ticket of this system."""
    if not shape.match(external_id):
        raise Invalid("this can't be the id of a ticket", fields={"ticket": "not an id"})
    return external_id


def check_login(token: Secret[str], what: str = "token") -> Secret[str]:
    if not _WORD.match(token.reveal()):
        raise SettingsError(f"the ticket system's {what} is empty or no word of ASCII")
    return token


def bearer(token: Secret[str]) -> Secret[str]:
    return Secret(f"Bearer {check_login(token).reveal()}")


def check_base_url(base_url: str) -> None:
    """With the parser of the client itself: two parsers may see two hosts in one address."""
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL:
        raise SettingsError("the ticket system's address is malformed") from None
    if url.userinfo or url.query or url.fragment:
        raise SettingsError("the ticket system's address holds more than host and path")
    local = url.scheme == "http" and _is_loopback(url.host)
    if not url.host or (url.scheme != "https" and not local):
        raise SettingsError(
            f"the ticket system's address {base_url!r} must begin with https://, "
            "or with http:// for a system on this machine"
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
