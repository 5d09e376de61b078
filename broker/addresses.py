"""Addresses of servers as people write them."""

from __future__ import annotations

from broker.errors import Invalid


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of HOST:PORT; an IPv6 address stands in brackets. Raises Invalid."""
    host, _, port = text.rpartition(":")
    if not (host and port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise Invalid(f"{text!r} is no address; write HOST:PORT, such as standby.example:5432")
    return host.removeprefix("[").removesuffix("]"), int(port)
