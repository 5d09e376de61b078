"""A request that an engineer writes on its ticket: see `tickets/commands.py` for what is written.

Who a comment is by is known from the ticket system alone. So what it makes is a request of that
person's and nothing more: people of the customer answer it (never in advance, never leads), whoever
was named gets a mail about it, and only they, signed in here, can use what is given.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from broker import mail, people, tenants
from broker.db import Database
from broker.errors import BrokerError, Invalid
from broker.grants import requests
from broker.grants.model import Grant
from broker.grants.requests import Ask
from broker.grants.scope_kinds import MASKED, STRUCTURE, Wanted
from broker.ids import GrantId, PersonId, TenantId
from broker.jobs import Queue
from broker.letters import Letter, phrase
from broker.logs import get_log
from broker.settings import Times
from broker.tenants import TenantDatabase
from broker.tickets import (
    Remark,
    TicketSystem,
    commands,
    comments,
    mirror,
)
from broker.tickets.mirror import Ticket
from broker.tx import Actor, Tx
from broker.tx import system as system_actor

_ACTOR = system_actor("tickets")
_CATEGORY = "customer_report"
_ANSWER_LENGTH = 700
_log = get_log(__name__)


@dataclass(frozen=True, slots=True)
class _Place:
    system: str
    external_id: str
    remark: Remark


def answer_commands(
    database: Database, queue: Queue, tickets: TicketSystem, external_id: str, times: Times
) -> None:
    """Answer what was written on this ticket and has no answer. Raises TicketSystemUnavailable."""
    for remark in tickets.list_commands(external_id):
        place = _Place(tickets.name, external_id, remark)
        try:
            _answer(database, queue, place, times)
        except (BrokerError, sa.exc.DBAPIError) as error:  # one that fails keeps no other
            _log.error("command_not_taken", ticket=external_id, error=type(error).__name__)


def _answer(database: Database, queue: Queue, place: _Place, times: Times) -> None:
    """The request and its answer in one transaction, or the reason why there is none in another."""
    remark = place.remark
    with database.begin(_ACTOR) as tx:
        if not commands.is_heard(remark, tx.at):
            return
        person_id = people.find_vendors(tx, remark.author)
    actor = _ACTOR if person_id is None else Actor("vendor", "comment", person_id)
    try:
        with database.begin(actor) as tx:
            ticket = _claim(tx, place)
            if ticket is not None:
                grant_id = _ask(tx, ticket, remark, times, queue)
                _say(tx, ticket, place, f"Request {grant_id}: the customer decides.", grant_id)
    except BrokerError as error:
        with database.begin(_ACTOR) as tx:
            ticket = _claim(tx, place)
            if ticket is not None:
                _say(tx, ticket, place, f"No request was made: {_words(error)}.", None)


def _claim(tx: Tx, place: _Place) -> Ticket | None:
    """The ticket, where it is one of a tenant's and this comment has no answer yet."""
    ticket = mirror.find_ticket(tx, place.system, place.external_id)
    if ticket is None or not commands.claim(tx, place.system, place.remark.id):
        return None
    return ticket


def _ask(tx: Tx, ticket: Ticket, remark: Remark, times: Times, queue: Queue) -> GrantId:
    """A request as the comment words it, or the one that its author has open on this ticket."""
    if tx.actor.person_id is None:
        raise Invalid("nobody who may ask here has the address that this system gives for you")
    people.check(tx, "grant:request")
    commands.check_prompt(remark, tx.at)
    command = commands.parse(remark.text)
    open_one = _find_open(tx, ticket)
    if open_one is not None:
        raise Invalid(f"you have {open_one} open on this ticket; see it, or end it first")
    is_copy = command.way == "copy"
    ask = Ask(
        ticket_id=ticket.id,
        database_id=_find_database(tx, ticket, command.database).id,
        category=_CATEGORY,
        reason=command.reason,
        live_s=0 if is_copy else command.lasts_s,
        copy_s=command.lasts_s if is_copy else 0,
        wanted=Wanted(kind=STRUCTURE if command.way == "structure" else MASKED),
        on_ticket=True,
    )
    grant_id = requests.request(tx, ask, times, queue)
    _tell(tx, tx.actor.person_id, grant_id, ticket)
    return grant_id


def _find_open(tx: Tx, ticket: Ticket) -> str | None:
    """So that a comment that is repeated, by a person or a rule of the system, asks once."""
    return tx.session.scalar(
        sa.select(Grant.id)
        .where(
            Grant.ticket_id == ticket.id,
            Grant.requester_id == tx.actor.person_id,
            Grant.state.in_(("requested", "approved")),
        )
        .limit(1)
    )


def _find_database(tx: Tx, ticket: Ticket, named: str | None) -> TenantDatabase:
    """The customer's only one, or the one that was named. Raises Invalid, and names none."""
    found = [
        one
        for one in tenants.list_databases(tx, TenantId(ticket.tenant_id))
        if named is None or named in {one.id, one.name}
    ]
    if len(found) == 1:
        return found[0]
    if named is not None:
        raise Invalid("this customer has no database of that name")
    raise Invalid(
        "this customer has several databases: after the time, write on and the name of one"
        if found
        else "this customer has no database here yet"
    )


def _tell(tx: Tx, person_id: PersonId, grant_id: GrantId, ticket: Ticket) -> None:
    """Whoever writes in the ticket system in another's name is seen by the one who is named."""
    letter = Letter(
        phrase("Asked in your name: %(grant)s", grant=grant_id),
        [
            phrase(
                "A comment on ticket %(ticket)s, under your name there, asked for access: "
                "%(grant)s. If you did not write it, end the request and tell your operators: "
                "somebody uses your account in the ticket system.",
                ticket=ticket.external_id,
                grant=grant_id,
            )
        ],
        kind="security",
        page=f"/grants/{grant_id}",
        thread=ticket.id,
    )
    mail.write(tx, person_id, None, letter)


def _say(tx: Tx, ticket: Ticket, place: _Place, text: str, grant_id: str | None) -> None:
    """The answer on the ticket, with the page where its reader goes on."""
    path = f"/grants/{grant_id}" if grant_id else f"/grants/new/{ticket.id}"
    comments.write(tx, ticket.id, f"answer:{place.remark.id}"[:80], text[:_ANSWER_LENGTH], path)


def _words(error: BrokerError) -> str:
    fields = error.facts.get("fields") or {}
    return "; ".join([error.message, *(f"{name}: {says}" for name, says in fields.items())])
