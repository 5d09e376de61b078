"""A tenant's approval policy: how many of its admins must approve, which, for how long at most."""

from __future__ import annotations

from typing import Any

import click

from broker.cli.command import Noun
from broker.cli.durations import Duration
from broker.cli.output import Item, print_item
from broker.cli.session import Session, pass_session


@click.group(cls=Noun)
def policy() -> None:
    """How a tenant approves requests."""


@policy.command()
@click.argument("tenant")
@pass_session
def show(session: Session, tenant: str) -> None:
    """The policy in force in TENANT, and the one that waits for another admin."""
    _print(session, session.api().get("tenants", tenant, "approval-policy"))


@policy.command(name="set")
@click.argument("tenant")
@click.option("--approvals", type=click.IntRange(1, 3), default=1, show_default=True)
@click.option("--approver", "approvers", multiple=True, metavar="PERSON", help="Only these admins.")
@click.option("--live-max", "live_max_s", type=Duration(), help="Live access at most, e.g. 2h.")
@click.option("--copy-max", "copy_max_s", type=Duration(), help="A copy's life at most, e.g. 2d.")
@click.option("--lapse", "unanswered_s", type=Duration(), help="Unanswered requests lapse after.")
@click.option("--break-glass", is_flag=True, help="Two leads of the vendor may open, unasked.")
@click.option("--break-glass-max", "break_glass_max_s", type=Duration(), help="1h if not said.")
@click.option("--second-person", is_flag=True, help="Changing the policy needs another admin.")
@click.option("--dedicated-only", is_flag=True, help="Each copy on a server of its own.")
@click.option("--masked-only", is_flag=True, help="Nobody may ask for columns in clear.")
@click.option(
    "--remind",
    "reminders",
    type=click.IntRange(1, 99),
    multiple=True,
    default=(25, 75),
    show_default=True,
    metavar="PERCENT",
    help="Tell of a request again at this share of its time.",
)
@click.option("--no-reminders", "silent", is_flag=True, help="Never tell of a request again.")
@click.option("--escalate-after", "escalate_after_s", type=Duration(), help="E.g. 2h; else never.")
@click.option(
    "--escalate-to",
    multiple=True,
    metavar="PERSON",
    help="Tell these admins, who may decide then; else every admin.",
)
@pass_session
def set_policy(session: Session, /, tenant: str, *, silent: bool, **chosen: Any) -> None:
    """Change the policy of TENANT for requests to come.

    What is not named goes back to the broker's own. Where the policy in force asks for a second
    person, the change waits until another admin confirms it.
    """
    lists = {name: list(chosen[name]) for name in ("approvers", "reminders", "escalate_to")}
    body = {**chosen, **lists, **({"reminders": []} if silent else {})}
    if chosen["break_glass_max_s"] is None:
        del body["break_glass_max_s"]
    _print(session, session.api().post("tenants", tenant, "approval-policy", body=body))


@policy.command()
@click.argument("tenant")
@click.argument("version", type=int)
@pass_session
def confirm(session: Session, tenant: str, version: int) -> None:
    """Agree to VERSION of TENANT's policy, which another admin proposed."""
    body = {"version": version}
    _print(session, session.api().post("tenants", tenant, "approval-policy", "confirm", body=body))


def _print(session: Session, answer: Item) -> None:
    if session.output != "table":
        print_item(answer, session.output, ("tenant", "version", "proposed_version"))
        return
    print_item({"version": answer["version"], **answer["policy"]}, "table")
    if answer["proposed"]:
        click.echo(f"\nVersion {answer['proposed_version']} waits for another admin:")
        print_item(answer["proposed"], "table")
