"""Requests to addresses that others named: a customer's sign-in service, a customer's webhook.

What must stay true: no such address leads into our own network. The name is looked up once, what it
stands for is checked, and the connection goes to what was checked, so that a name which changes in
between leads nowhere else (SSRF, DNS rebinding). TLS always; no redirect is followed; what comes
back is bounded in bytes and in time. An operator may allow networks that are not public
(`outgoing.networks`), for services that stand beside the broker.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx

from broker.errors import Invalid, SettingsError, Unavailable

_STEP_S, _ALL_S = 5.0, 15.0
_MOST_BYTES = 1 << 18
_MOST_CHARACTERS = 1000
# Kept for protocols; which of them `is_global` names depends on the release of Python.
_KEPT = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15")))
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address within
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class AddressRefused(Unavailable):
    """The address leads into a network that is not public; nothing was sent there."""

    type = "address-refused"


@dataclass(frozen=True, slots=True)
class Sending:
    """One request. `form` is sent as a form, `content` as it is."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    form: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Received:
    status: int
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def check_url(url: str, *, local: bool = False) -> str:
    """The address, if it can be meant: https, a host, no login and no fragment. Raises Invalid.

    With `local`, http to this machine is taken too: for tests and for a broker on a laptop.
    """
    problem = "an https:// address without a login in it, such as https://id.example/hook"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise Invalid("this can't be an address", fields={"url": problem}) from None
    plain = parts.scheme == "http" and local and host == "127.0.0.1"
    sound = (
        (parts.scheme == "https" or plain) and host and port != 0 and len(url) < _MOST_CHARACTERS
    )
    marked = parts.username is not None or parts.password is not None or "#" in url
    if not sound or marked or not url.isascii() or any(letter <= " " for letter in url):
        raise Invalid("this can't be an address", fields={"url": problem})
    return url


def is_public(address: Address) -> bool:
    """Whether anybody on the internet may be there; also for an address within an address.

    >>> is_public(ipaddress.ip_address("::ffff:10.0.0.1"))
    False
    """
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address.teredo is not None:
            return False
    if any(address in one for one in _KEPT):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


class Outgoing:
    """Safe among threads: it keeps no connection."""

    def __init__(self, networks: Sequence[str] = ()) -> None:
        """`networks` are allowed beside the public ones. Raises SettingsError."""
        try:
            self._allowed: list[Network] = [ipaddress.ip_network(one) for one in networks]
        except ValueError as error:
            raise SettingsError(f"outgoing.networks: {error}") from None

    @property
    def allows_local(self) -> bool:
        return any(ipaddress.ip_address("127.0.0.1") in one for one in self._allowed)

    def send(self, sending: Sending) -> Received:
        """Raises Invalid for what is no address, AddressRefused, Unavailable."""
        url = httpx.URL(check_url(sending.url, local=self.allows_local))
        address = self._resolve(url.host, url.port or 443)
        # To what was checked; the certificate must be of the name.
        headers = {**sending.headers, "Host": url.netloc.decode()}
        try:
            with (
                httpx.Client(timeout=_STEP_S, follow_redirects=False, trust_env=False) as client,
                client.stream(
                    sending.method,
                    url.copy_with(host=str(address)),
                    headers=headers,
                    content=sending.content,
                    data=dict(sending.form) if sending.form is not None else None,
                    extensions={"sni_hostname": url.host},
                ) as answer,
            ):
                return Received(answer.status_code, _read(answer, url.host), answer.headers)
        except httpx.HTTPError as error:
            raise Unavailable(f"{url.host} can't be reached ({type(error).__name__})") from None

    def _resolve(self, host: str, port: int) -> Address:
        """The first of its addresses; all of them must be allowed."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise Unavailable(f"{host} has no address") from None
        addresses = [ipaddress.ip_address(one[4][0]) for one in found]
        if not addresses or not all(self._is_allowed(one) for one in addresses):
            raise AddressRefused(
                f"{host} stands in a network that is not public; an operator may allow it "
                "(outgoing.networks)"
            )
        return addresses[0]

    def _is_allowed(self, address: Address) -> bool:
        return is_public(address) or any(address in one for one in self._allowed)


def _read(answer: httpx.Response, host: str) -> bytes:
    """Bounded in bytes and in time, however slowly it drips."""
    until, content = time.monotonic() + _ALL_S, b""
    for block in answer.iter_bytes():
        content += block
        if len(content) > _MOST_BYTES:
            raise Unavailable(f"{host} sent too much")
        if time.monotonic() > until:
            raise Unavailable(f"{host} was too slow")
    return content
