"""Internal test servers, where sandboxes run: their set-up and registration."""

from __future__ import annotations

from pathlib import Path

import click

from broker.cli.checks import check_wait, run_check
from broker.cli.command import Noun
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
from broker.cli.sizes import Size

_COLUMNS = ("id", "name", "kind", "host", "port", "capacity_bytes", "registered_at")


@click.group(cls=Noun)
def servers() -> None:
    """Internal test servers."""


@servers.command("list")
@pass_session
def list_servers(session: Session) -> None:
    """Registered test servers."""
    print_list(list(session.api().pages("servers")), _COLUMNS, session.output)


@servers.command()
@click.argument("server")
@pass_session
def show(session: Session, server: str) -> None:
    """One test server, as it is registered."""
    print_item(session.api().get("servers", server), session.output)


@servers.command()
@click.argument("server")
@pass_session
def remove(session: Session, server: str) -> None:
    """Take SERVER out of use; refused while anything of ours is there."""
    session.api().delete("servers", server)
    click.echo(f"{server} is removed.")


@servers.command()
@click.option("--name", required=True, help="What people call it.")
@click.option("--host", required=True)
@click.option("--port", type=click.IntRange(1, 65535), default=5432, show_default=True)
@click.option("--login", required=True, help="The role that setup-sql made.")
@click.option("--dedicated", is_flag=True, help="A host where each copy gets its own server.")
@click.option("--ca-file", help="The server's certificate authority, as the workers find it.")
@password_options
@pass_session
def create(
    session: Session,
    *,
    name: str,
    host: str,
    port: int,
    login: str,
    dedicated: bool,
    ca_file: str | None,
    password_stdin: bool,
    password_file: Path | None,
) -> None:
    """Register a test server. Its login's password leaves this machine sealed."""
    from broker.keys.intake import login_context

    api = session.api()
    password = read_login_password(password_file, from_stdin=password_stdin)
    body = {
        "name": name,
        "host": host,
        "port": port,
        "login": login,
        "sealed_password": seal_for_broker(
            api, password, login_context("server", host, port, login)
        ),
    }
    if dedicated:
        body["kind"] = "dedicated"
    if ca_file is not None:
        body["ca_file"] = ca_file
    print_item(api.post("servers", body=body), session.output)


@servers.command()
@click.argument("server")
@click.option("--capacity", type=Size(), required=True, help="Such as 200GB; none: no bound.")
@pass_session
def limit(session: Session, server: str, capacity: int | None) -> None:
    """Say what copies may take on SERVER: one that would not fit is refused when it is ordered."""
    body = {"capacity_bytes": capacity}
    print_item(session.api().post("servers", server, "capacity", body=body), session.output)


@servers.command()
@click.argument("server")
@check_wait
@pass_session
def check(session: Session, server: str, wait_s: int) -> None:
    """Look at a test server: what it lacks, what it gives too much. Exit 6 when that is fatal."""
    run_check(session, "servers", server, wait_s)


@servers.command()
@click.argument("server")
@pass_session
def rotate(session: Session, server: str) -> None:
    """Have the password of the broker's login on SERVER's server changed now."""
    print_item(session.api().post("servers", server, "rotate"), session.output)


@servers.command()
@click.argument("server")
@password_options
@pass_session
def password(
    session: Session, server: str, *, password_stdin: bool, password_file: Path | None
) -> None:
    """Give the password that the DBA has set for the broker's login. It leaves here sealed."""
    send_password(session, "servers", server, password_file, from_stdin=password_stdin)


@servers.command()
@click.argument("server")
@click.option("--cluster", required=True, help="The system identifier that was found there.")
@pass_session
def confirm(session: Session, server: str, cluster: str) -> None:
    """Say that another cluster took the place of SERVER's former one, which is shut down.

    Logins on the former one can't be looked at any more. What stands on the new one is swept before
    anything is made there.
    """
    body = {"cluster": cluster}
    print_item(session.api().post("servers", server, "confirm", body=body), session.output)


@servers.command()
@click.option("--host", required=True)
@click.option("--port", type=click.IntRange(1, 65535), default=5432, show_default=True)
@click.option("--login", required=True, help="The role that setup-sql made.")
@password_options
@pass_session
def seal(
    session: Session,
    *,
    host: str,
    port: int,
    login: str,
    password_stdin: bool,
    password_file: Path | None,
) -> None:
    """Print a login's password sealed for the broker, as the console's forms take it.

    It is good for this host, port and login alone, and only a worker can open it.
    """
    from broker.keys.intake import login_context

    password = read_login_password(password_file, from_stdin=password_stdin)
    context = login_context("server", host, port, login)
    click.echo(seal_for_broker(session.api(), password, context))


@servers.command("setup-sql", cls=click.Command)
@setup_options
def setup_sql(
    *,
    login: str,
    sql_file: Path | None,
    password_file: Path | None,
    show_password: bool,
    server_version: int,
) -> None:
    """Print what the server's operator runs once, with a new password's verifier in it."""
    from broker.engines.postgres import account

    write_setup(
        lambda verifier: account.setup_test_server_sql(
            login, verifier, server_version=server_version * 10000
        ),
        sql_file=sql_file,
        password_file=password_file,
        show_password=show_password,
    )
