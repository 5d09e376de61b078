"""Setting a new broker up: what is there, what is missing, and the next step."""

from __future__ import annotations

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from broker import first_steps
from broker.web.languages import mark
from broker.web.session import begin

pages = Blueprint("set_up", __name__)

# Of each step: what it is, and what to do; the command, "" where a page does it.
WORDS = {
    "worker": (
        mark("A worker runs"),
        mark("It holds the keys and does the work. On its host, see what it lacks:"),
        "broker doctor",
    ),
    "mail": (
        mark("Mails go out"),
        mark("Requests, decisions and ends are told by mail. Invite a colleague to see one leave:"),
        "broker people add --role operator",
    ),
    "people": (
        mark("Two operators, so that one can stand in for the other"),
        mark("Add the second; your engineers and leads too:"),
        "broker people add --role operator",
    ),
    "tenant": (
        mark("A customer is enrolled"),
        mark("Its first admin is invited by mail:"),
        "broker tenants create",
    ),
    "database": (
        mark("A database of theirs, and nothing fatal found there"),
        mark("Its owner runs the SQL that is printed; then register it. The preflight looks:"),
        "broker databases setup-sql",
    ),
    "server": (
        mark("A test server for copies, and nothing fatal found there"),
        mark("Whoever runs it runs the SQL that is printed; then register it:"),
        "broker servers setup-sql",
    ),
    "tickets": (
        mark("The ticket system is read"),
        mark("Access rests on a ticket and ends with it. Set BROKER_TICKETS__URL; the contract:"),
        "broker tickets conformance",
    ),
    "copy": (
        mark("A first copy was whole"),
        mark("It proves store, keys and tools at once. Let an engineer ask for one, of your own:"),
        "broker grants request",
    ),
}


@pages.get("/set-up")
def show() -> ResponseReturnValue:
    with begin() as tx:
        steps = first_steps.list_steps(tx)
    following = next((step.name for step in steps if step.state != "done"), None)
    return render_template("console/set_up.html", steps=steps, following=following, words=WORDS)
