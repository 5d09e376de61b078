"""Makes the ticket system that the settings name."""

from __future__ import annotations

from broker.errors import SettingsError
from broker.settings import Tickets
from broker.tickets import TicketSystem
from broker.tickets.driver import Account
from broker.tickets.generic import GenericTickets
from broker.tickets.jira import JiraTickets
from broker.tickets.zendesk import ZendeskTickets


def build_tickets(settings: Tickets) -> TicketSystem | None:
    """None where no address is set. Raises SettingsError with one sentence."""
    if settings.url is None:
        return None
    if settings.token is None:
        raise SettingsError("the ticket system needs a token; set BROKER_TICKETS__TOKEN")
    _check_unused(settings)
    if settings.kind == "generic":
        return GenericTickets(
            settings.url, settings.token, settings.webhook_secrets, settings.probe
        )
    account = Account(
        settings.url, settings.token, settings.probe, settings.user, settings.webhook_secrets
    )
    match settings.kind:
        case "zendesk":
            return ZendeskTickets(account)
        case "jira":
            return JiraTickets(account, settings.customer_field or "project")


def _check_unused(settings: Tickets) -> None:
    """A setting that would be passed over was meant for something."""
    if settings.customer_field is not None and settings.kind != "jira":
        raise SettingsError(
            f"BROKER_TICKETS__CUSTOMER_FIELD is for Jira; a ticket system of kind {settings.kind} "
            "says itself whose a ticket is: remove it"
        )
    if settings.user is not None and settings.kind not in {"zendesk", "jira"}:
        raise SettingsError(
            f"BROKER_TICKETS__USER means nothing for a ticket system of kind {settings.kind}: "
            "remove it"
        )
