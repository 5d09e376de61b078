"""Signing in and out, who one is, and an invitation's first password."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from broker.cli.command import ApiCommand
from broker.cli.output import print_item
from broker.cli.plain import plain
from broker.cli.secrets_in import read_line, read_secret
from broker.cli.session import Login, Session, pass_session
from broker.errors import BrokerError, CodeNeeded, Invalid, NotAuthenticated
from broker.secret import Secret

if TYPE_CHECKING:
    from broker.cli.api import Api, Item

_password_stdin = click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input."
)


@click.command(cls=ApiCommand)
@click.option("--email", help="Your address: sign in with your password, here.")
@_password_stdin
@click.option("--token-stdin", is_flag=True, help="Store a personal API token instead.")
@click.option("--no-browser", is_flag=True, help="Open no browser; type the address yourself.")
@pass_session
def login(
    session: Session,
    *,
    email: str | None,
    password_stdin: bool,
    token_stdin: bool,
    no_browser: bool,
) -> None:
    """Sign in from your browser, and keep the token in this profile.

    It is kept in the system's keyring, or in a file of yours alone. You are shown a code to type
    into the console, where you sign in as you always do, by passkey too. With --email you sign in
    here, with your password.
    """
    if token_stdin:
        _keep(session, session.base_url(session.find_login()), read_line(), None)
        return
    if email is None and not password_stdin:
        from broker.cli.device import sign_in

        api = session.anonymous_api()
        _keep(session, api.url, *sign_in(api, open_browser=not no_browser))
        return
    address = email or click.prompt("E-mail", err=True)
    password = read_secret("Password", from_stdin=password_stdin)
    api = session.anonymous_api()
    body = {"email": address, "password": password.reveal()}
    answer = _sign_in(api, body)
    token = answer.get("token")
    if not isinstance(token, str):
        raise Invalid(f"{api.url} signed nobody in")
    _keep(session, api.url, Secret(token), answer.get("id"))


def _sign_in(api: Api, body: dict[str, str]) -> Item:
    """Asks for the authenticator's code where one is on."""
    try:
        return api.post("sign-in", body=body)
    except CodeNeeded:
        pass  # asked for outside, so that its own failure stands alone
    code = click.prompt("Code of your authenticator, or a recovery code", err=True)
    return api.post("sign-in", body={**body, "code": code})


def _keep(session: Session, url: str, token: Secret[str], token_id: str | None) -> None:
    """Store a token once the broker has said whose it is."""
    from broker.cli.api import Api

    person = Api(url, token, session.ca_bundle).get("me")
    session.keep_login(Login(url, token, token_id))
    click.echo(f"Signed in to {url} as {plain(person.get('name'))}.")


@click.command(cls=ApiCommand)
@click.option("--password-stdin", is_flag=True, help="Read both from standard input, a line each.")
@pass_session
def password(session: Session, *, password_stdin: bool) -> None:
    """Change your password. All sign-ins and tokens end: sign in again."""
    current = read_secret("Current password", from_stdin=password_stdin)
    new = read_secret("New password", from_stdin=password_stdin, twice=True)
    body = {"current": current.reveal(), "password": new.reveal()}
    session.api().post("me/password", body=body)
    click.echo("Changed. Sign in again with: broker login")


@click.command(cls=ApiCommand)
@pass_session
def logout(session: Session) -> None:
    """End this profile's token, and forget it."""
    stored = session.find_login()
    if stored is None:
        raise NotAuthenticated(f"nobody is signed in (profile {session.profile})")
    ended = _end_token(session, stored)
    session.forget_login()
    click.echo("Signed out." if ended else "Forgotten here. The broker still takes the token.")


def _end_token(session: Session, stored: Login) -> bool:
    """Whether the broker takes the token no longer."""
    from broker.cli.api import Api

    if stored.token_id is None:  # one that was brought by --token-stdin: it may serve elsewhere
        return False
    try:
        Api(stored.url, stored.token, session.ca_bundle).delete("tokens", stored.token_id)
    except NotAuthenticated:
        return True
    except BrokerError:
        return False
    return True


@click.command(cls=ApiCommand)
@pass_session
def whoami(session: Session) -> None:
    """Who you are to the broker, and what you may do."""
    print_item(session.api().get("me"), session.output)


@click.command("accept-invitation", cls=ApiCommand)
@click.option("--stdin", is_flag=True, help="Read the code, then the password, a line each.")
@pass_session
def accept_invitation(session: Session, *, stdin: bool) -> None:
    """Set your first password, with the code from the invitation's mail."""
    code = read_line() if stdin else read_secret("Code", from_stdin=False)
    password = read_secret("New password", from_stdin=stdin, twice=True)
    body = {"code": code.reveal(), "password": password.reveal()}
    session.anonymous_api().post("invitations", "accept", body=body)
    click.echo("Your password is set. Sign in with: broker login")
