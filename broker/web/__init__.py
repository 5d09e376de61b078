"""The console: server-rendered pages for a tenant's admins, support engineers and operators.

What must stay true: a GET changes nothing but the trace that somebody looked; every page shows what
the domain's read models give to this person and nothing else; forms work without JavaScript.
"""

from __future__ import annotations

from flask import Blueprint, Flask, g
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError

from broker.bootstrap import Broker
from broker.web import (
    account,
    backups,
    codes,
    consents,
    contacts,
    copies,
    databases,
    delegates,
    departures,
    devices,
    directories,
    glass,
    grants,
    holds,
    home,
    identity,
    new_request,
    organisation,
    packed,
    pages,
    passkeys,
    policies,
    preflights,
    recipients,
    records,
    registered,
    registers,
    retention,
    reviews,
    rights,
    session,
    set_up,
    standing,
    stepup,
    webhooks,
)

# Each holds its blueprint as `pages`.
PARTS = (
    account,
    codes,
    home,
    grants,
    new_request,
    copies,
    records,
    preflights,
    set_up,
    policies,
    delegates,
    departures,
    databases,
    registered,
    glass,
    holds,
    standing,
    reviews,
    consents,
    rights,
    recipients,
    backups,
    retention,
    registers,
    contacts,
    passkeys,
    devices,
    stepup,
    identity,
    organisation,
    directories,
    webhooks,
)


def register_console(app: Flask, broker: Broker) -> None:
    """Put the console on the application, at `/`."""
    app.config.update(
        BOOTSTRAP_SERVE_LOCAL=True,  # the wheel's own files: no page asks another host for anything
        WTF_CSRF_TIME_LIMIT=None,  # a form stays good as long as the session that it was made in
    )
    pages.set_up(app, broker)
    packed.set_up(app)
    console = Blueprint(
        "console",
        __name__,
        template_folder="templates",
        static_folder="static",
        static_url_path="/assets",
    )
    console.before_request(session.guard)
    console.before_request(_ask_again)
    console.register_error_handler(CSRFError, pages.show_stale_form)
    for part in PARTS:
        console.register_blueprint(part.pages)
    app.register_blueprint(console)


def _ask_again() -> ResponseReturnValue | None:
    """After `guard`, which knows who asks; strangers' pages need no proof."""
    return stepup.require() if g.get("visitor") is not None else None
