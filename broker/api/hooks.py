"""Webhooks of ticket systems: hints to look, and nothing more.

What must stay true: a webhook that is forged, stale or sent again changes nothing; one that holds
makes us fetch the ticket sooner, and what it says of the ticket is not read.
"""

from __future__ import annotations

from flask import Blueprint, Flask, request
from flask.typing import ResponseReturnValue

from broker import bootstrap, ticketing
from broker.api.operations import the_broker
from broker.bootstrap import Broker
from broker.errors import NotFound
from broker.tickets import hints
from broker.tx import system


def register_hooks(app: Flask, broker: Broker) -> Blueprint:
    """`POST /hooks/tickets/<system>`; without a ticket system every one is "not found"."""
    blueprint = Blueprint("hooks", __name__, url_prefix="/hooks")
    tickets = bootstrap.build_tickets(broker.settings)

    @blueprint.post("/tickets/<name>")
    def take_webhook(name: str) -> ResponseReturnValue:
        if tickets is None or name != tickets.name:
            raise NotFound("no ticket system of this name is set up")
        webhook = tickets.read_webhook(dict(request.headers), request.get_data(cache=False))
        broker = the_broker()
        with broker.database.begin(system("webhook")) as tx:
            if not hints.is_replay(tx, tickets.name, webhook.message_id):
                ticketing.take_hint(tx, broker.queue, tickets.name, webhook.external_id)
        return "", 200

    app.register_blueprint(blueprint)
    return blueprint
