"""What the drivers of vendors' systems do alike."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import httpx

from broker.errors import SettingsError
from broker.secret import Secret
from broker.tickets import (
    FetchedTicket,
    Remark,
    TicketSystemUnavailable,
    Webhook,
    WebhookRefused,
)
from broker.tickets.client import Client, bearer, check_id, check_login
from broker.tickets.signatures import Hooks


@dataclass(frozen=True, slots=True)
class Account:
    """How a vendor's system is reached. `user` belongs to `token` where the vendor wants both."""

    url: str
    token: Secret[str]
    probe: str
    user: str | None = None
    client_id: str | None = None  # of OAuth, with its secret
    client_secret: Secret[str] | None = None
    webhook_secrets: Sequence[Secret[str]] = ()
    hooks: Hooks | None = None  # in place of the secrets, with a clock of a test's own
    transport: httpx.BaseTransport | None = field(default=None, repr=False)

    def list_hooks(self) -> Hooks:
        return self.hooks or Hooks(self.webhook_secrets)

    def open(self, login: Secret[str]) -> Client:
        return Client(self.url, login, transport=self.transport)


class Driver:
    """Half of `broker.tickets.TicketSystem`; `id_shape` is of an id of a ticket there."""

    name: str
    at_once = 1
    id_shape: re.Pattern[str]

    def __init__(self, account: Account, login: Secret[str]) -> None:
        """Raises SettingsError."""
        if not self.id_shape.match(account.probe):
            raise SettingsError(
                f"the probe ticket {account.probe!r} can't be the id of a ticket of {self.name}; "
                "set BROKER_TICKETS__PROBE"
            )
        self._probe = account.probe
        self._hooks = account.list_hooks()
        self._client = account.open(login)

    def close(self) -> None:
        self._client.close()

    def find(self, external_id: str) -> FetchedTicket | None:
        raise NotImplementedError

    def find_many(self, external_ids: Sequence[str]) -> Mapping[str, FetchedTicket]:
        asked = [one for one in external_ids if self.id_shape.match(one)]
        return self._list(asked) if asked else {}

    def _list(self, asked: Sequence[str]) -> Mapping[str, FetchedTicket]:
        """None, where the system shows no list by ids."""
        del asked
        return {}

    def list_commands(self, external_id: str) -> Sequence[Remark]:
        """None, where the system does not say who wrote a comment, or hides none of them."""
        del external_id
        return ()

    def probe(self) -> None:
        if self.find(self._probe) is None:
            raise TicketSystemUnavailable(
                f"the probe ticket {self._probe} can't be read at {self._client.base_url}; "
                "check the address and what the token may see"
            )

    def _check_id(self, external_id: str) -> str:
        return check_id(external_id, self.id_shape)

    def _hook(self, message_id: str | None, external_id: str | None) -> Webhook:
        """Raises WebhookRefused when it names no ticket."""
        if external_id is None or not self.id_shape.match(external_id):
            raise WebhookRefused("the webhook names no ticket")
        return Webhook(message_id, external_id)


def basic(user: str, token: Secret[str]) -> Secret[str]:
    """RFC 7617."""
    pair = f"{user}:{check_login(token).reveal()}".encode()
    return Secret(f"Basic {base64.b64encode(pair).decode()}")


def basic_key(key: Secret[str]) -> Secret[str]:
    """Where the key is the user, and the password any word."""
    return Secret(f"Basic {base64.b64encode(f'{check_login(key).reveal()}:X'.encode()).decode()}")


def basic_or_bearer(user: str | None, token: Secret[str]) -> Secret[str]:
    return bearer(token) if user is None else basic(user, token)
