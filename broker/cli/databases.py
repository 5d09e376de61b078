"""Tenants' live databases: the SQL that their DBA runs, and their registration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from broker.cli import drills
from broker.cli.checks import check_wait, run_check
from broker.cli.command import Noun
from broker.cli.durations import Duration
from broker.cli.failures import WaitTimedOut
from broker.cli.logins import (
    password_options,
    read_login_password,
    seal_for_broker,
    send_password,
    setup_options,
    write_setup,
)
from broker.cli.output import print_item, print_list
from broker.cli.session import Session, pass_session
from broker.cli.tenancy_options import read_tenancy, tenancy_options

if TYPE_CHECKING:
    from broker.cli.api import Api, Item

_COLUMNS = ("id", "name", "host", "port", "dbname", "schemas")


@click.group(cls=Noun)
def databases() -> None:
    """Live databases of tenants."""


@databases.command("list")
@click.option("--tenant", required=True, metavar="TENANT")
@pass_session
def list_databases(session: Session, tenant: str) -> None:
    """Databases of a tenant."""
    print_list(list(session.api().pages("databases", tenant=tenant)), _COLUMNS, session.output)


@databases.command()
@click.argument("database")
@pass_session
def show(session: Session, database: str) -> None:
    """One database, as it is registered."""
    print_item(session.api().get("databases", database), session.output)


@databases.command()
@click.argument("database")
@pass_session
def remove(session: Session, database: str) -> None:
    """Take DATABASE out of use; refused while anything of ours is there."""
    session.api().delete("databases", database)
    click.echo(f"{database} is removed.")


@databases.command()
@click.option("--tenant", required=True, metavar="TENANT")
@click.option("--name", required=True, help="What people call it.")
@click.option("--host", required=True)
@click.option("--port", type=click.IntRange(1, 65535), default=5432, show_default=True)
@click.option("--dbname", required=True)
@click.option("--login", required=True, help="The role that setup-sql made.")
@click.option("--schema", "schemas", multiple=True, required=True, help="Of the application.")
@click.option(
    "--known-login",
    "known_logins",
    multiple=True,
    metavar="ROLE",
    help="Who else may log in there: the application, a backup, the DBA. Others are told.",
)
@click.option(
    "--standby",
    "standbys",
    multiple=True,
    metavar="HOST:PORT",
    help="Ends are confirmed there too.",
)
@click.option("--ca-file", help="The server's certificate authority, as the workers find it.")
@tenancy_options
@password_options
@pass_session
def create(
    session: Session,
    /,
    *,
    tenant: str,
    name: str,
    host: str,
    port: int,
    dbname: str,
    login: str,
    schemas: tuple[str, ...],
    known_logins: tuple[str, ...],
    standbys: tuple[str, ...],
    ca_file: str | None,
    password_stdin: bool,
    password_file: Path | None,
    **part: Any,
) -> None:
    """Register a live database. Its login's password leaves this machine sealed."""
    from broker.keys.intake import login_context

    tenancy = read_tenancy(part)
    api = session.api()
    password = read_login_password(password_file, from_stdin=password_stdin)
    body = {
        "tenant": tenant,
        "name": name,
        "host": host,
        "port": port,
        "dbname": dbname,
        "login": login,
        "schemas": list(schemas),
        "known_logins": list(known_logins),
        "standbys": list(standbys),
        "tenancy": tenancy,
        "sealed_password": seal_for_broker(
            api, password, login_context("database", host, port, login)
        ),
    }
    if ca_file is not None:
        body["ca_file"] = ca_file
    print_item(api.post("databases", body=body), session.output)


@databases.command()
@click.argument("database")
@check_wait
@pass_session
def check(session: Session, database: str, wait_s: int) -> None:
    """Look at a database: what it lacks, what it gives too much. Exit 6 when that is fatal."""
    run_check(session, "databases", database, wait_s)


@databases.command()
@click.argument("database")
@click.option("--login", "logins", multiple=True, metavar="ROLE", help="All of them, each once.")
@pass_session
def know(session: Session, database: str, logins: tuple[str, ...]) -> None:
    """Say which other logins are known on DATABASE's server, in place of those named before."""
    body = {"known_logins": list(logins)}
    print_item(session.api().post("databases", database, "known-logins", body=body), session.output)


@databases.command()
@click.argument("database")
@click.option("--standby", "standbys", multiple=True, metavar="HOST:PORT", help="All, each once.")
@pass_session
def standbys(session: Session, database: str, standbys: tuple[str, ...]) -> None:
    """Say which standbys DATABASE's server has, in place of those named before.

    The end of a login is confirmed on each; one that does not answer keeps it "revoking". Take off
    only what is shut down: on a standby that is not named nothing is looked for.
    """
    body = {"standbys": list(standbys)}
    print_item(session.api().post("databases", database, "standbys", body=body), session.output)


@databases.command()
@click.argument("database")
@click.option(
    "--for",
    "closed_s",
    type=Duration(),
    default="10m",
    show_default=True,
    help="How long no login is made there; 0 for not at all.",
)
@click.option(
    "--wait", "wait_s", type=Duration(), default="10s", show_default=True, help="Until it is clear."
)
@pass_session
def release(session: Session, database: str, closed_s: int, wait_s: int) -> None:
    """Make way for a migration of DATABASE: cut all logins, drop all views of ours.

    For a deploy hook: ends with 0 only when nothing of ours stands in the way, with 7 when
    something still does after --wait. Grants go on; no login is made for as long as --for says.
    """
    api = session.api()
    found = api.post("databases", database, "release", body={"closed_s": closed_s})
    if not found["clear"]:
        found = _wait_until_clear(api, database, wait_s)
    print_item(found, session.output)


def _wait_until_clear(api: Api, database: str, wait_s: int) -> Item:
    """Raises WaitTimedOut with what still stands there, and why."""
    last: list[Item] = []
    try:
        return api.wait(
            *("databases", database, "release"),
            until=lambda item: bool(item["clear"]),
            timeout_s=wait_s,
            seen=last.append,
        )
    except WaitTimedOut:
        left, why = last[-1], last[-1]["stuck_reason"] or "a worker is at it"
        raise WaitTimedOut(
            f"{database} is not clear yet: {left['logins']} logins and {left['scopes']} scopes of "
            f"ours stand there ({why}); it goes on without you",
            **{"try": f"broker databases release {database} --wait 60s"},
        ) from None


@databases.command()
@click.argument("database")
@pass_session
def rotate(session: Session, database: str) -> None:
    """Have the password of the broker's login on DATABASE's server changed now."""
    print_item(session.api().post("databases", database, "rotate"), session.output)


@databases.command()
@click.argument("database")
@password_options
@pass_session
def password(
    session: Session, database: str, *, password_stdin: bool, password_file: Path | None
) -> None:
    """Give the password that the DBA has set for the broker's login. It leaves here sealed."""
    send_password(session, "databases", database, password_file, from_stdin=password_stdin)


@databases.command()
@click.argument("database")
@click.option("--cluster", required=True, help="The system identifier that was found there.")
@pass_session
def confirm(session: Session, database: str, cluster: str) -> None:
    """Say that another cluster took the place of DATABASE's former one, which is shut down.

    Logins on the former one can't be looked at any more. What stands on the new one is swept before
    anything is made there.
    """
    body = {"cluster": cluster}
    print_item(session.api().post("databases", database, "confirm", body=body), session.output)


@databases.command("dead-man-sql", cls=click.Command)
def dead_man_sql() -> None:
    """Print a small function for the DBA to own and schedule: it locks logins past their end.

    It needs no broker. Without it, and without `broker reap`, an open session may outlive its end
    while the broker is down.
    """
    from broker.engines.postgres import dead_man

    click.echo(dead_man.dead_man_sql(), nl=False)


@databases.command("setup-sql", cls=click.Command)
@click.option("--dbname", required=True)
@click.option("--schema", "schemas", multiple=True, required=True, help="Of the application.")
@click.option(
    "--app-role",
    "app_roles",
    multiple=True,
    help="A role that connects to the database or owns its tables.",
)
@setup_options
def setup_sql(
    *,
    dbname: str,
    schemas: tuple[str, ...],
    app_roles: tuple[str, ...],
    login: str,
    sql_file: Path | None,
    password_file: Path | None,
    show_password: bool,
    server_version: int,
) -> None:
    """Print what the tenant's DBA runs once, with a new password's verifier in it."""
    from broker.engines.postgres import account

    write_setup(
        lambda verifier: account.setup_sql(
            dbname,
            login,
            verifier,
            schemas,
            app_roles=app_roles,
            server_version=server_version * 10000,
        ),
        sql_file=sql_file,
        password_file=password_file,
        show_password=show_password,
    )


for _command in (drills.drill, drills.drills, drills.allow, drills.forbid):
    databases.add_command(_command)
