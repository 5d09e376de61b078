"""Makes the ticket system that the settings name."""

from __future__ import annotations

from collections.abc import Callable

from broker.errors import SettingsError
from broker.settings import Tickets
from broker.tickets import TicketSystem
from broker.tickets.driver import Account
from broker.tickets.freshdesk import FreshdeskTickets
from broker.tickets.generic import GenericTickets
from broker.tickets.gitlab import GitlabTickets
from broker.tickets.glpi import GlpiTickets
from broker.tickets.jira import JiraTickets
from broker.tickets.linear import LinearTickets
from broker.tickets.zendesk import ZendeskTickets

_MAKERS: dict[str, Callable[[Account, Tickets], TicketSystem]] = {
    "generic": lambda a, _: GenericTickets(a.url, a.token, a.webhook_secrets, a.probe),
    "zendesk": lambda a, _: ZendeskTickets(a),
    "jira": lambda a, settings: JiraTickets(a, settings.customer_field or "project"),
    "freshdesk": lambda a, _: FreshdeskTickets(a),
    "glpi": lambda a, _: GlpiTickets(a),
    "gitlab": lambda a, settings: GitlabTickets(a, settings.project),
    "linear": lambda a, _: LinearTickets(a),
}
# Settings that only some kinds know; each driver says itself which it can't do without.
_KNOWN_TO = {
    "user": {"zendesk", "jira", "glpi"},
    "customer_field": {"jira"},
    "project": {"gitlab"},
    "client_id": {"glpi"},
    "client_secret": {"glpi"},
}


def build_tickets(settings: Tickets) -> TicketSystem | None:
    """None where no address is set. Raises SettingsError with one sentence."""
    if settings.url is None:
        return None
    if settings.token is None:
        raise SettingsError("the ticket system needs a token; set BROKER_TICKETS__TOKEN")
    _check_unused(settings)
    account = Account(
        settings.url,
        settings.token,
        settings.probe,
        settings.user,
        settings.client_id,
        settings.client_secret,
        settings.webhook_secrets,
    )
    return _MAKERS[settings.kind](account, settings)


def _check_unused(settings: Tickets) -> None:
    """A setting that would be passed over was meant for something."""
    for name, kinds in _KNOWN_TO.items():
        if getattr(settings, name) is not None and settings.kind not in kinds:
            raise SettingsError(
                f"BROKER_TICKETS__{name.upper()} means nothing for a ticket system of kind "
                f"{settings.kind}, only for {' and '.join(sorted(kinds))}: remove it"
            )
