"""`broker snapshots env`: what an application needs to run against a copy, as variables.

The login outlives the command, up to the end of the copy: an application runs on. The password is
made here and stands in what is printed, or in a file of mode 0600, and in no other place.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import click

from broker.cli.command import ApiCommand
from broker.cli.durations import Duration
from broker.cli.session import Session, pass_session

if TYPE_CHECKING:
    from broker.secret import Secret

_ISSUED_WITHIN_S = 60


@click.command("env", cls=ApiCommand)
@click.argument("snapshot")
@click.option("--develop", is_flag=True, help="Change the copy's definitions too, if given.")
@click.option("--file", "file", type=click.Path(path_type=Path), help="A new file of yours alone.")
@click.option(
    "--ca-file",
    type=click.Path(path_type=Path),
    envvar="PGSSLROOTCERT",
    show_envvar=True,
    help="Certificates that vouch for the copy's server, in place of the public ones.",
)
@click.option("--timeout", "timeout_s", type=Duration(), default=_ISSUED_WITHIN_S, metavar="TIME")
@pass_session
def env(
    session: Session,
    *,
    snapshot: str,
    develop: bool,
    file: Path | None,
    ca_file: Path | None,
    timeout_s: int,
) -> None:
    """Print what an application needs to run against SNAPSHOT: PG* variables and DATABASE_URL.

    For a shell: eval "$(broker snapshots env SNAPSHOT)". The login is kept until the copy ends, or
    until `broker leases end`, as its first line says.
    """
    from broker.cli.connect import environment, kind_of, leased
    from broker.cli.files import write_new
    from broker.cli.tunnel import straight
    from broker.errors import Invalid

    if kind_of(snapshot) != "snapshot":
        raise Invalid("this is for copies (snp_…); to a live database: broker connect GRANT")
    with leased(session.api(), snapshot, keep=True, timeout_s=timeout_s, develop=develop) as made:
        lease, password = made
        way = straight(str(lease["host"]), int(lease["port"]))
        variables = environment(lease, password, way, ca_file, base={})
        text = _script(lease, {**variables, "DATABASE_URL": database_url(variables, password)})
        if file is None:
            click.echo(text, nl=False)
        else:
            write_new(file, text.encode())
            click.echo(f"Written to {file}. The login is {lease['id']}.", err=True)


def database_url(variables: Mapping[str, str], password: Secret[str]) -> str:
    """Libpq's URI, which most drivers take; a socket's folder stands among its parameters."""
    host, more = variables["PGHOST"], {}
    if host.startswith(("/", "@")):
        host, more = "", {"host": host}
    if "PGSSLMODE" in variables:
        more |= {"sslmode": variables["PGSSLMODE"], "sslrootcert": variables["PGSSLROOTCERT"]}
    login = f"{quote(variables['PGUSER'], safe='')}:{quote(password.reveal(), safe='')}"
    place = f"[{host}]" if ":" in host else host
    where = f"{place}:{variables['PGPORT']}" if place else ""
    if not place:
        more["port"] = variables["PGPORT"]
    query = f"?{urlencode(more, quote_via=quote)}" if more else ""
    return f"postgresql://{login}@{where}/{quote(variables['PGDATABASE'], safe='')}{query}"


def _script(lease: Mapping[str, Any], variables: Mapping[str, str]) -> str:
    told = f"# {lease['id']} until {lease['ends_at']}; sooner: broker leases end {lease['id']}"
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    return "\n".join([told, *lines]) + "\n"
