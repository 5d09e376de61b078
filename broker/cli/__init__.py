"""`broker <noun> <verb>`: a client of the HTTP API, and the way to start the broker's processes.

What must stay true: a noun's module is imported when it is used and not before, so that `broker
--version` answers at once; no secret is ever an argument (G11); what a server sent can't steer the
terminal. Exit codes are a contract: see `broker.cli.failures`.
"""

from __future__ import annotations

import click

from broker import __version__
from broker.cli.lazy import LazyGroup

_COMMANDS = {
    "accept-invitation": "broker.cli.account:accept_invitation",
    "login": "broker.cli.account:login",
    "logout": "broker.cli.account:logout",
    "mails": "broker.cli.mails:mails",
    "password": "broker.cli.account:password",
    "whoami": "broker.cli.account:whoami",
    "tokens": "broker.cli.tokens:tokens",
    "services": "broker.cli.services:services",
    "tenants": "broker.cli.tenants:tenants",
    "people": "broker.cli.people:people",
    "databases": "broker.cli.databases:databases",
    "servers": "broker.cli.servers:servers",
    "preflights": "broker.cli.preflights:preflights",
    "webhooks": "broker.cli.webhooks:webhooks",
    "directories": "broker.cli.directories:directories",
    "identity-providers": "broker.cli.identity_providers:identity_providers",
    "platforms": "broker.cli.platforms:platforms",
    "storages": "broker.cli.storages:storages",
    "tickets": "broker.cli.tickets:tickets",
    "grants": "broker.cli.grants:grants",
    "leases": "broker.cli.leases:leases",
    "snapshots": "broker.cli.snapshots:snapshots",
    "holds": "broker.cli.holds:holds",
    "policy": "broker.cli.policy:policy",
    "standing": "broker.cli.standing:standing",
    "consents": "broker.cli.consents:consents",
    "delegates": "broker.cli.delegates:delegates",
    "backups": "broker.cli.backups:backups",
    "restores": "broker.cli.backups:restores",
    "departures": "broker.cli.departures:departures",
    "recipients": "broker.cli.recipients:recipients",
    "orders": "broker.cli.recipients:orders",
    "notice": "broker.cli.registers:notice",
    "processing": "broker.cli.registers:processing",
    "breaches": "broker.cli.registers:breaches",
    "retention": "broker.cli.retention:retention",
    "improvement": "broker.cli.retention:improvement",
    "rights": "broker.cli.rights:rights",
    "reviews": "broker.cli.reviews:reviews",
    "certificates": "broker.cli.certificates:certificates",
    "log": "broker.cli.log:log",
    "connect": "broker.cli.connect:connect",
    "health": "broker.cli.health:health",
    "figures": "broker.cli.health:figures",
    "quarantine": "broker.cli.quarantine:quarantine",
    "doctor": "broker.cli.doctor:doctor",
    "migrate": "broker.cli.processes:migrate",
    "web": "broker.cli.processes:web",
    "worker": "broker.cli.processes:worker",
    "scheduler": "broker.cli.processes:scheduler",
    "serve": "broker.cli.serve:serve",
    "up": "broker.cli.serve:up",
    "man": "broker.cli.man:man",
    "completion": "broker.cli.completion:completion",
    "demo": "broker.cli.serve:demo",
    "keyring": "broker.cli.folders:keyring",
    "store": "broker.cli.folders:store",
    "reap": "broker.reap:reap",
}


@click.group(
    cls=LazyGroup, lazy=_COMMANDS, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name="broker")
def cli() -> None:
    """Support access to tenants' databases: only when authorised, masked, ended and proven.

    A client names its broker by BROKER_URL and signs in with `broker login`.

    \b
    As an engineer:  broker tickets list; broker grants request --help
                     broker connect grt_...      psql, under a grant
    As an admin:     broker grants list --state requested
                     broker grants plan grt_...; broker grants approve grt_...
    As a program:    -o json, and the exit status: 0 ok, 2 usage, 3 not signed in,
                     4 denied, 5 not found, 6 conflict, 7 waited in vain, 8 network

    `broker man | man -l -` shows everything on one page.
    """  # noqa: D301  # the sign by which click leaves a paragraph's lines alone


def main() -> None:
    cli(prog_name="broker")
