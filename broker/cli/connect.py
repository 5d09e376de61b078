"""`broker connect`: a login of one's own for as long as one program runs.

The password is made here; the broker gets its SCRAM verifier alone. What must stay true: the
password is in the environment of that one program and nowhere else (G11), and the login ends when
the program does, however it ends.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from broker.cli.command import ApiCommand
from broker.cli.durations import Duration
from broker.cli.plain import plain
from broker.cli.session import Session, pass_session
from broker.errors import BrokerError, Conflict, Invalid, Unavailable
from broker.ids import is_id

if TYPE_CHECKING:
    from broker.cli.api import Api
    from broker.cli.tunnel import Way
    from broker.secret import Secret

Item = dict[str, Any]
_ISSUED_WITHIN_S = 60


@click.command(cls=ApiCommand)
@click.argument("target", metavar="GRANT|SNAPSHOT")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.option("--via", metavar="HOST", help="Go through this host, by your own ssh.")
@click.option("--exec", "program", metavar="CMD", help="Run this instead of psql.")
@click.option("--develop", is_flag=True, help="On a copy: change its definitions too, if given.")
@click.option("--keep", is_flag=True, help="Leave the login when the program ends.")
@click.option(
    "--ca-file",
    type=click.Path(path_type=Path),
    envvar="PGSSLROOTCERT",
    show_envvar=True,
    help="Certificates that vouch for the database's server, in place of the public ones.",
)
@click.option("--timeout", "timeout_s", type=Duration(), default=_ISSUED_WITHIN_S, metavar="TIME")
@pass_session
@click.pass_context
def connect(
    ctx: click.Context,
    session: Session,
    *,
    target: str,
    arguments: tuple[str, ...],
    via: str | None,
    program: str | None,
    develop: bool,
    keep: bool,
    ca_file: Path | None,
    timeout_s: int,
) -> None:
    """Open psql, or another program, on a tenant's live database or on a copy.

    What stands after -- goes to the program. It finds its server and its password in PG* variables;
    its exit status becomes ours.
    """
    from broker.cli.tunnel import open_way

    command = [*find_program(program), *arguments]
    api = session.api()
    with (
        leased(api, target, develop=develop, keep=keep, timeout_s=timeout_s) as (lease, password),
        open_way(str(lease["host"]), int(lease["port"]), via) as way,
    ):
        status = run_program(command, environment(lease, password, way, ca_file))
    ctx.exit(status)


def find_program(program: str | None) -> list[str]:
    """The command line to run, without a shell. Raises Invalid, or ServerUnavailable for psql."""
    if program is None:
        from broker.engines.postgres.connect import find_tool

        return [find_tool("psql")]
    words = shlex.split(program)
    if not words:
        raise Invalid("--exec names a program")
    return words


@contextlib.contextmanager
def leased(
    api: Api, target: str, *, keep: bool, timeout_s: int, develop: bool = False
) -> Iterator[tuple[Item, Secret[str]]]:
    """An issued login and its password; asked to end when the block does, whatever happened."""
    from broker.engines.postgres.scram import make_verifier, new_password

    password = new_password()
    body: dict[str, Any] = {kind_of(target): target, "verifier": make_verifier(password)}
    if develop:
        body["develop"] = True
    lease_id = str(api.post("leases", body=body)["id"])
    issued = False
    try:
        lease = api.wait("leases", lease_id, until=_is_answered, timeout_s=timeout_s)
        if lease["state"] != "issued":
            why = lease.get("stuck_reason") or "it was ended before it was made"
            raise Conflict(f"the login {lease_id} is {lease['state']}: {why}")
        issued = True
        yield lease, password
    finally:
        if not (keep and issued):
            _end(api, lease_id)


def kind_of(target: str) -> str:
    """`grant` or `snapshot`, by the form of the id. Raises Invalid."""
    for kind, prefix in (("grant", "grt"), ("snapshot", "snp")):
        if is_id(target, prefix):
            return kind
    raise Invalid(f"{target!r} is neither a grant (grt_…) nor a snapshot (snp_…)")


def _is_answered(lease: Item) -> bool:
    return bool(lease["state"] != "pending")


def _end(api: Api, lease_id: str) -> None:
    """Ask for the login's end. It ends by its own time too: a failure is told, not raised."""
    try:
        api.post("leases", lease_id, "end")
    except Conflict:
        return  # somebody else was first
    except BrokerError as error:
        click.echo(
            f"{lease_id} could not be ended now ({plain(error.message)}); "
            f"try: broker leases end {lease_id}",
            err=True,
        )


def environment(
    lease: Mapping[str, Any],
    password: Secret[str],
    way: Way,
    ca_file: Path | None,
    base: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """The program's variables: ours for the server, none of the user's PG* ones, no API token."""
    kept = os.environ if base is None else base
    clean = {k: v for k, v in kept.items() if not k.startswith("PG") and k != "BROKER_TOKEN"}
    variables = {
        "PGHOST": way.host,
        "PGPORT": str(way.port),
        "PGDATABASE": str(lease["dbname"]),
        "PGUSER": str(lease["role"]),
        "PGPASSWORD": password.reveal(),
        "PGAPPNAME": f"broker {lease['id']}",
        "PGREQUIREAUTH": "scram-sha-256",  # a server that asks for the password itself gets none
        "PGGSSENCMODE": "disable",
    }
    if way.address is not None:
        variables["PGHOSTADDR"] = way.address
    if way.verified:
        root = str(ca_file) if ca_file is not None else "system"
        variables |= {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": root}
    return clean | variables


def run_program(command: Sequence[str], env: Mapping[str, str]) -> int:
    """Run it on this terminal; Ctrl-C is the program's. Returns its status as a shell gives it."""
    import signal
    import subprocess

    try:
        with _signals_passed_on() as children:
            process = subprocess.Popen(command, env=dict(env))
            children.append(process)
            status = process.wait()
    except OSError as error:
        raise Unavailable(f"{command[0]} can't be run: {error.strerror}") from None
    return status if status >= 0 else 128 + abs(signal.Signals(-status))


@contextlib.contextmanager
def _signals_passed_on() -> Iterator[list[Any]]:
    """SIGINT reaches the program from the terminal; other ends are passed on, and waited for."""
    import signal

    children: list[Any] = []

    def pass_on(number: int, _frame: object) -> None:
        for child in children:
            child.send_signal(number)

    before = {
        number: signal.signal(number, pass_on if number != signal.SIGINT else lambda *_: None)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield children
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
