"""The HTTP client: one method per verb, problems as the errors of `broker.errors`.

What must stay true: the token is in a header and nowhere else; no redirect is followed, so it goes
to one host only; nothing is believed of an answer that is not JSON of the expected form.
"""

from __future__ import annotations

import ssl
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from broker import __version__
from broker.cli.failures import WaitTimedOut
from broker.cli.session import is_loopback
from broker.cli.slim import httpx
from broker.errors import (
    BrokerError,
    CodeNeeded,
    Conflict,
    Denied,
    Invalid,
    NotAuthenticated,
    NotFound,
    TooMany,
    Unavailable,
)
from broker.secret import Secret

Item = dict[str, Any]
_PREFIX = "/api/v1"
_DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
_TIMEOUT_S = 30
_WAIT_S = 10  # what the server waits at most
_PAUSE_S = 1.0  # between two looks when the server did not wait for us
_PAGE = 100
_BY_STATUS: dict[int, type[BrokerError]] = {
    401: NotAuthenticated,
    403: Denied,
    404: NotFound,
    409: Conflict,
    412: Conflict,
    429: TooMany,
}


class Api:
    """`parts` are the pieces of a path, each quoted: `api.get("grants", identity, "plan")`."""

    def __init__(self, url: str, token: Secret[str] | None, ca_bundle: Path | None) -> None:
        self.url = url
        self._token = token
        headers = {"Accept": "application/json", "User-Agent": f"broker-cli/{__version__}"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token.reveal()}"
        self._client = httpx.Client(
            headers=headers,
            verify=_tls(ca_bundle),
            timeout=_TIMEOUT_S,
            follow_redirects=False,
            # A proxy named by the environment is for other machines: on this one it would see all.
            trust_env=not is_loopback(urlsplit(url).hostname or ""),
        )

    def get(self, *parts: str, **query: str | int | None) -> Item:
        return _object(self._send("GET", parts, query=query))

    def get_bytes(self, *parts: str, **query: str | int | None) -> bytes:
        return self._send("GET", parts, query=query).content

    def get_pieces(self, *parts: str) -> Iterator[bytes]:
        """A file of any length, as it comes; what was cut off on the way raises Unavailable."""
        url = f"{self.url}{_PREFIX}/{_path(parts)}"
        try:
            with self._client.stream("GET", url) as answer:
                if not answer.is_success:
                    answer.read()
                    raise _problem(self.url, answer)
                yield from answer.iter_bytes()
        except httpx.HTTPError as error:
            raise Unavailable(f"{self.url} did not send all of it: {_reason(error)}") from None

    def get_positioned(self, *parts: str, **query: str | int | None) -> tuple[bytes, int]:
        """An answer, and the position in a log that it goes on from."""
        answer = self._send("GET", parts, query=query)
        position = answer.headers.get("Log-Position", "")
        if not (position.isascii() and position.isdigit()):
            raise Unavailable(f"{self.url} did not say how far it looked")
        return answer.content, int(position)

    def post(self, *parts: str, body: Item | None = None) -> Item:
        answer = self._send("POST", parts, body=body or {})
        return _object(answer) if answer.content else {}

    def post_for_bytes(self, *parts: str, body: Item) -> bytes:
        return self._send("POST", parts, body=body).content

    def delete(self, *parts: str, **query: str | int | None) -> None:
        self._send("DELETE", parts, query=query)

    def exchange(self, audience: str, grant: str) -> Item:
        """Our API token for one of the platform that `audience` names (RFC 8693)."""
        if self._token is None:
            raise NotAuthenticated("sign in first: broker login")
        kind = "urn:ietf:params:oauth:token-type:access_token"
        form = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": self._token.reveal(),
            "subject_token_type": kind,
            "audience": audience,
            "scope": grant,
        }
        return _object(self._request("POST", f"{self.url}/oauth/token", data=form))

    def ask_device(self) -> Item:
        """RFC 8628: a code for a person to type, and one to ask with."""
        form = {"client_id": "broker-cli"}
        return _object(self._request("POST", f"{self.url}/oauth/device_authorization", data=form))

    def take_device(self, device_code: str) -> Item:
        """A token, or the `error` of RFC 8628, section 3.5."""
        form = {"client_id": "broker-cli", "grant_type": _DEVICE, "device_code": device_code}
        try:
            answer = self._client.post(f"{self.url}/oauth/token", data=form)
        except httpx.HTTPError as error:
            raise Unavailable(f"{self.url} can't be reached: {_reason(error)}") from None
        if answer.is_success or answer.status_code == 400:
            return _object(answer)
        raise _problem(self.url, answer)

    def pages(self, *parts: str, **query: str | int | None) -> Iterator[Item]:
        """Everything of a list, page by page."""
        cursor: str | None = None
        while True:
            page = self.get(*parts, **query, cursor=cursor)
            items = page.get("items")
            if not isinstance(items, list):
                raise Unavailable(f"{self.url} answered something that is no list")
            yield from items
            cursor = page.get("next")
            if not cursor or not items:
                return

    def wait(
        self,
        *parts: str,
        until: Callable[[Item], bool],
        timeout_s: float,
        seen: Callable[[Item], None] = lambda _: None,
    ) -> Item:
        """Look until `until` holds, telling `seen` each time. Raises WaitTimedOut."""
        deadline = time.monotonic() + timeout_s
        while True:
            began = time.monotonic()
            left = deadline - began
            item = self.get(*parts, wait=max(0, min(_WAIT_S, int(left))))
            seen(item)
            if until(item):
                return item
            if time.monotonic() >= deadline:
                why = item.get("stuck_reason") or item.get("plan_problem")
                because = f" ({why})" if why else ""
                raise WaitTimedOut(
                    f"{parts[-1]} is still {item.get('state')}{because}; it goes on without you",
                    **{"try": f"broker {parts[0]} show {parts[-1]}"},
                )
            spent = time.monotonic() - began
            time.sleep(max(0.0, min(_PAUSE_S - spent, deadline - time.monotonic())))

    def _send(
        self,
        method: str,
        parts: tuple[str, ...],
        *,
        query: dict[str, str | int | None] | None = None,
        body: Item | None = None,
    ) -> httpx.Response:
        params = {name: value for name, value in (query or {}).items() if value is not None}
        # What was sent twice, because its answer was lost on the way, is done once.
        headers = {"Idempotency-Key": str(uuid.uuid4())} if method == "POST" else {}
        url = f"{self.url}{_PREFIX}/{_path(parts)}"
        return self._request(method, url, params=params, json=body, headers=headers)

    def _request(self, method: str, url: str, **sent: Any) -> httpx.Response:
        try:
            answer = self._send_twice(method, url, **sent)
        except httpx.HTTPError as error:
            raise Unavailable(f"{self.url} can't be reached: {_reason(error)}") from None
        if not answer.is_success:
            raise _problem(self.url, answer)
        return answer

    def _send_twice(self, method: str, url: str, **sent: Any) -> httpx.Response:
        """Once more when the connection broke: a GET changes nothing, a POST has its key."""
        try:
            return self._client.request(method, url, **sent)
        except (httpx.ReadError, httpx.RemoteProtocolError):
            if self._token is None or not (method == "GET" or sent.get("headers")):
                raise
        return self._client.request(method, url, **sent)


def _path(parts: tuple[str, ...]) -> str:
    return "/".join(quote(part, safe="") for part in parts)


def _tls(ca_bundle: Path | None) -> ssl.SSLContext | bool:
    if ca_bundle is None:
        return True
    try:
        return ssl.create_default_context(cafile=str(ca_bundle))
    except (OSError, ssl.SSLError):
        raise Invalid(f"{ca_bundle} is no file of certificates") from None


def _reason(error: httpx.HTTPError) -> str:
    return str(error).strip() or type(error).__name__


def _object(answer: httpx.Response) -> Item:
    try:
        value = answer.json()
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise Unavailable(f"{answer.url.host} answered something that is not the broker's API")
    return value


def _problem(url: str, answer: httpx.Response) -> BrokerError:
    """RFC 9457: `detail` is the sentence; other members are facts."""
    try:
        problem = answer.json()
    except ValueError:
        problem = None
    status = answer.status_code
    if not isinstance(problem, dict):
        return Unavailable(f"{url} answered {status}, and not as the broker's API does")
    message = str(
        problem.get("detail")
        or problem.get("error_description")  # RFC 6749: of tokens for platforms
        or problem.get("title")
        or f"the answer was {status}"
    )
    family = _BY_STATUS.get(status, Unavailable if status >= 500 else Invalid)
    if str(problem.get("type", "")).endswith(CodeNeeded.type):
        family = CodeNeeded
    return family(message, fields=problem.get("fields"))
