"""Logins of registered servers: made here, sealed here, and never sent in clear.

A server's DBA runs SQL that holds a SCRAM verifier; the broker gets the password sealed to its key
port. So the password is clear in this process, in a file if one was asked for, and nowhere else.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from broker.cli.files import read_text, write_new
from broker.cli.output import print_item
from broker.cli.secrets_in import read_secret
from broker.cli.session import Session
from broker.errors import Invalid, Unavailable
from broker.secret import Secret

if TYPE_CHECKING:
    from broker.cli.api import Api

F = TypeVar("F", bound=Callable[..., Any])
_FILE = click.Path(path_type=Path)


def password_options(command: F) -> F:
    """`--password-stdin` and `--password-file`, for a login that exists already."""
    for option in (
        click.option("--password-file", type=_FILE, help="Read the login's password from there."),
        click.option("--password-stdin", is_flag=True, help="Read it from standard input."),
    ):
        command = option(command)
    return command


def setup_options(command: F) -> F:
    """Where `setup-sql` puts the SQL and the new password."""
    for option in (
        click.option(
            "--server-version",
            type=click.IntRange(15, 99),
            default=17,
            show_default=True,
            help="The server's major version.",
        ),
        click.option("--show-password", is_flag=True, help="Print it; needs --sql-file."),
        click.option("--password-file", type=_FILE, help="Write the new password there (0600)."),
        click.option("--sql-file", type=_FILE, help="Write the SQL there instead of printing it."),
        click.option("--login", required=True, help="Name of the role that the broker will use."),
    ):
        command = option(command)
    return command


def read_login_password(password_file: Path | None, *, from_stdin: bool) -> Secret[str]:
    if password_file is None:
        return read_secret("Password of the login", from_stdin=from_stdin)
    if from_stdin:
        raise Invalid("name one place that the password comes from, not two")
    return Secret(read_text(password_file).rstrip("\r\n"))


def seal_for_broker(api: Api, password: Secret[str], context: bytes) -> str:
    """The password as only the key port can open it, bound to its server; in base64."""
    from broker.keys.intake import seal_login

    try:
        public = base64.b64decode(str(api.get("keys", "intake").get("public")), validate=True)
    except binascii.Error:
        raise Unavailable("the broker's public key for logins is not base64") from None
    return base64.b64encode(seal_login(public, password, context)).decode()


def send_password(
    session: Session, noun: str, registered: str, password_file: Path | None, *, from_stdin: bool
) -> None:
    """The password that a DBA has set for the broker's login on one of `databases` or `servers`."""
    from broker.keys.intake import login_context

    api = session.api()
    known = api.get(noun, registered)
    secret = read_login_password(password_file, from_stdin=from_stdin)
    context = login_context(noun.removesuffix("s"), known["host"], known["port"], known["login"])
    body = {"sealed_password": seal_for_broker(api, secret, context)}
    print_item(api.post(noun, registered, "password", body=body), session.output)


def write_setup(
    make_sql: Callable[[str], str],
    *,
    sql_file: Path | None,
    password_file: Path | None,
    show_password: bool,
) -> None:
    """Make a password and the SQL that holds its verifier, and put each where it was asked."""
    from broker.engines.postgres.scram import make_verifier, new_password

    if password_file is None and not show_password:
        raise Invalid("say where the new password goes: --password-file FILE, or --show-password")
    if show_password and sql_file is None:
        raise Invalid("--show-password needs --sql-file FILE: standard output holds one thing")
    password = new_password()
    text = make_sql(make_verifier(password))
    if password_file is not None:
        write_new(password_file, password.reveal().encode() + b"\n")
    if sql_file is None:
        click.echo(text, nl=False)
    else:
        write_new(sql_file, text.encode())
    if show_password:
        click.echo(password.reveal())
