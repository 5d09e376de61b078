"""GLPI 11, by its high-level API.

After GLPI's pages "RESTful API (V2)" and "Webhooks", and its own source: the schemas of tickets and
follow-ups in `src/Glpi/Api/HL/Controller/ITILController.php`, body and signature of webhooks in
`src/Webhook.php`. Not run against GLPI itself.

- Closed is 5 solved, 6 closed, or in the trash. The customer is the ticket's entity, by its number.
- The API wants a token that lives an hour, got with an OAuth client and a user's password (the
  password grant: GLPI gives scope `api` by no other without a browser).
- `X-GLPI-signature` is the HMAC-SHA-256 of body and timestamp. Webhooks go through GLPI's queue and
  may be late, so an hour is allowed. We do not answer its challenge (CRA): who answers it signs
  whatever is asked, and a webhook could be forged with the answer. Leave it off.
- A webhook on what hangs on a ticket shows that thing, with the ticket in `items_id`. Its schema of
  follow-ups names no author, so nothing is asked by a comment here.
- A private follow-up needs 11.0.6 or newer. GLPI counts no re-openings.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping, Sequence

from broker.errors import SettingsError
from broker.secret import Secret
from broker.tickets import FetchedTicket, Webhook
from broker.tickets.client import (
    Json,
    as_html,
    as_list,
    as_object,
    bearer,
    check_login,
    read_each,
    text_of,
    unavailable,
    word_of,
)
from broker.tickets.driver import Account, Driver
from broker.tickets.signatures import digest_of, header_of, read_document, seconds_of

_TICKETS = "/api.php/v2/Assistance/Ticket"
_CLOSED, _STATUSES = frozenset({5, 6}), range(1, 20)
_WINDOW_S = 3600
_EARLY_S = 60  # a token is renewed so long before it ends
_NOBODY = Secret("Bearer none")  # before there is a token


class GlpiTickets(Driver):
    """`user` and the token are a user's name and password, of the least profile that reads."""

    name = "glpi"
    at_once = 100
    id_shape = re.compile(r"\A[1-9][0-9]{0,18}\Z")

    def __init__(self, account: Account) -> None:
        if account.user is None or account.client_id is None or account.client_secret is None:
            raise SettingsError(
                "GLPI needs an OAuth client and a user; set BROKER_TICKETS__CLIENT_ID, "
                "BROKER_TICKETS__CLIENT_SECRET, BROKER_TICKETS__USER and BROKER_TICKETS__TOKEN, "
                "which is that user's password"
            )
        super().__init__(account, _NOBODY)
        self._grant = {
            "grant_type": "password",
            "scope": "api",
            "client_id": account.client_id,
            "username": account.user,
        }
        self._secrets = {"client_secret": account.client_secret, "password": account.token}
        self._until, self._lock = 0.0, threading.Lock()

    def find(self, external_id: str) -> FetchedTicket | None:
        path = f"{_TICKETS}/{self._check_id(external_id)}"
        self._log_in()
        found = self._client.get(path)
        return None if found is None else self._read(as_object(found), external_id)

    def _list(self, asked: Sequence[str]) -> Mapping[str, FetchedTicket]:
        query = {"filter": f"id=in=({','.join(asked)})", "limit": str(self.at_once)}
        self._log_in()
        tickets = [as_object(one) for one in as_list(self._client.get(_TICKETS, query))]
        return read_each(asked, {text_of(one.get("id")) or "": one for one in tickets}, self._read)

    def comment(self, external_id: str, key: str, text: str) -> None:
        """GLPI knows no key for these: tried again, it stands there twice."""
        del key
        path = f"{_TICKETS}/{self._check_id(external_id)}/Timeline/Followup"
        self._log_in()
        self._client.post(path, {"content": as_html(text), "is_private": True})

    def read_webhook(self, headers: Mapping[str, str], body: bytes) -> Webhook:
        timestamp = header_of(headers, "X-GLPI-timestamp")
        signed = body + timestamp.encode()
        self._hooks.check_hmac(signed, header_of(headers, "X-GLPI-signature"))
        self._hooks.check_age(seconds_of(timestamp), _WINDOW_S)
        return self._hook(
            digest_of(signed), _find_ticket(as_object(read_document(body).get("item")))
        )

    def _log_in(self) -> None:
        """Raises TicketSystemUnavailable when GLPI gives no token."""
        with self._lock:
            if time.monotonic() < self._until:
                return
            form = self._grant | {name: one.reveal() for name, one in self._secrets.items()}
            answer = as_object(self._client.ask("/api.php/token", form=form, none_for=()))
            token, lasts_s = answer.get("access_token"), answer.get("expires_in")
            if not isinstance(token, str) or not isinstance(lasts_s, int):
                raise unavailable("gives no token")
            self._client.log_in(bearer(check_login(Secret(token))))
            self._until = time.monotonic() + lasts_s - _EARLY_S

    def _read(self, document: Json, external_id: str) -> FetchedTicket:
        name, status = document.get("name"), as_object(document.get("status")).get("id")
        if text_of(document.get("id")) != external_id:
            raise unavailable("did not answer with the ticket that was asked for")
        if not isinstance(name, str) or isinstance(status, bool) or status not in _STATUSES:
            raise unavailable("answered with a ticket that is not whole")
        return FetchedTicket(
            external_id,
            name,
            text_of(as_object(document.get("entity")).get("id")) or "",
            status in _CLOSED or document.get("is_deleted") is True,
            f"{self._client.base_url}/front/ticket.form.php?id={external_id}",
            word_of(document.get("priority")),
            word_of(as_object(document.get("category")).get("name")),
        )


def _find_ticket(item: Json) -> str | None:
    """Of a ticket its own number; of what hangs on one, a follow-up say, that of the ticket."""
    if "itemtype" in item:
        return text_of(item.get("items_id")) if item["itemtype"] == "Ticket" else None
    return text_of(item.get("tickets_id")) or text_of(item.get("id"))
