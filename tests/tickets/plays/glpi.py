"""GLPI 11: "RESTful API (V2)" of its documentation, the schema of tickets and the signature of
webhooks in its source.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from typing import Any

from flask import Flask, jsonify, request

from broker.secret import Secret
from broker.tickets import FetchedTicket, TicketSystem
from broker.tickets.driver import Account
from broker.tickets.glpi import GlpiTickets
from tests.tickets.plays.base import BASE, NOW, OLD, TOKEN, Play, Said


def ticket(number: int, status: int = 2, **changes: Any) -> dict[str, Any]:
    return {
        "id": number,
        "name": "The report is empty",
        "content": "&lt;p&gt;Since Monday&lt;/p&gt;",
        "is_deleted": False,
        "category": {"id": 3, "name": "Reports"},
        "urgency": 3,
        "priority": 5,
        "type": 1,
        "status": {"id": status, "name": "Processing (assigned)"},
        "entity": {"id": 7, "name": "Acme", "completename": "Root > Acme"},
        **changes,
    }


class Glpi(Play):
    def __init__(self) -> None:
        super().__init__(
            FetchedTicket(
                external_id="20",
                title="The report is empty",
                customer="7",
                closed=False,
                url=f"{BASE}/front/ticket.form.php?id=20",
                severity="5",
                category="reports",
            ),
            closed=("2", "3", "4"),
            gone="404",
            locked=None,
            broken=ticket(20, status={"id": None}),  # type: ignore[arg-type]
            unmapped=("5",),
            tickets={
                "20": ticket(20),
                "2": ticket(2, status=5),
                "3": ticket(3, status=6),
                "4": ticket(4, is_deleted=True),
                "5": ticket(5, entity=None),
            },
            window_s=3600,
            public=("/api.php/token",),
            speaks=False,
        )
        self.given = 0

    def login(self) -> str:
        return f"Bearer access-{self.given}"

    def more(self) -> dict[str, Any]:
        return {"user": "broker", "client_id": "client", "client_secret": Secret("of the client")}

    def build(self, account: Account) -> TicketSystem:
        return GlpiTickets(account)

    def refuse(self) -> Any:
        return jsonify(status="ERROR_UNAUTHENTICATED", title="You are not authenticated"), 401

    def add_routes(self, app: Flask) -> None:
        tickets = "/api.php/v2/Assistance/Ticket"

        @app.post("/api.php/token")
        def give() -> Any:
            """A form, as RFC 6749 wants it; a wrong password is a 400."""
            wanted = {
                "grant_type": "password",
                "scope": "api",
                "client_id": "client",
                "client_secret": "of the client",
                "username": "broker",
                "password": TOKEN.reveal(),
            }
            if request.form.to_dict() != wanted:
                return jsonify(error="invalid_grant"), 400
            self.given += 1
            token = f"access-{self.given}"
            return jsonify(token_type="Bearer", expires_in=3600, access_token=token)

        @app.get(f"{tickets}/<number>")
        def show(number: str) -> Any:
            if number not in self.tickets:
                return jsonify(status="ERROR_ITEM_NOT_FOUND"), 404
            return jsonify(self.tickets[number])

        @app.get(tickets)
        def show_several() -> Any:
            """What is in the trash is not shown."""
            asked = re.fullmatch(r"id=in=\(([0-9,]*)\)", request.args["filter"])
            assert asked is not None
            found = [self.tickets.get(one) for one in asked[1].split(",")]
            return jsonify([one for one in found if one and not one["is_deleted"]])

        @app.post(f"{tickets}/<number>/Timeline/Followup")
        def follow_up(number: str) -> Any:
            if number not in self.tickets:
                return jsonify(status="ERROR_ITEM_NOT_FOUND"), 404
            asked = request.get_json()
            self.said.append(Said(number, asked["content"], asked["is_private"]))
            return jsonify(id=8), 201

    def sign(
        self, external_id: str, secret: Secret[str], at_s: float
    ) -> tuple[dict[str, str], bytes]:
        named: Any = int(external_id) if external_id.isdigit() else external_id
        return self.sign_item(ticket(named), secret, at_s)

    def sign_item(
        self, item: dict[str, Any], secret: Secret[str] = OLD, at_s: float = NOW
    ) -> tuple[dict[str, str], bytes]:
        body = json.dumps({"item": item, "event": "update"}, indent=4).encode()
        timestamp = str(int(at_s))
        digest = hmac.digest(secret.reveal().encode(), body + timestamp.encode(), hashlib.sha256)
        return {"X-GLPI-signature": digest.hex(), "X-GLPI-timestamp": timestamp}, body
