"""Regular backups: declared, run, reported. `broker backups run` does a whole run by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from broker.cli.command import Noun, tenant_option
from broker.cli.durations import Duration
from broker.cli.files import FILE
from broker.cli.output import print_item, print_list
from broker.cli.session import Session, pass_session

_COLUMNS = ("id", "tenant", "database_name", "state", "hours", "host", "place", "last_good")
_RUNS = ("id", "asked_at", "state", "report", "bytes", "place", "expires_at", "unusual")
_RESTORES = ("id", "state", "run", "ticket", "target", "reason", "asked_by_name", "ends_at")


@click.group(cls=Noun)
def backups() -> None:
    """Regular backups of customers' databases, each on the customer's consent to it."""


@backups.command("list")
@tenant_option
@pass_session
def list_backups(session: Session, *, tenant: str | None) -> None:
    """What was declared, and how each stands."""
    query = {"tenant": tenant} if tenant else {}
    print_list(list(session.api().pages("backups", **query)), _COLUMNS, session.output)


@backups.command()
@click.argument("backup")
@pass_session
def show(session: Session, backup: str) -> None:
    """One: its program, machine, hours and place."""
    print_item(session.api().get("backups", backup), session.output)


@backups.command()
@click.argument("database")
@click.option("--runner", required=True, help="The program's account (broker services create).")
@click.option("--host", required=True, help="From where it connects: address, network or local.")
@click.option("--every", type=Duration(), required=True, metavar="TIME", help="As 24h.")
@click.option("--opens", required=True, help="Its runs begin from then on, UTC, as 02:00.")
@click.option("--closes", required=True, help="And before then; the same as --opens: all day.")
@click.option("--longest", type=Duration(), required=True, metavar="TIME", help="Of one run.")
@click.option("--place", required=True, help="Where its backups lie.")
@click.option("--keep-days", type=int, required=True)
@click.option("--kind", type=click.Choice(["dump"]), default="dump", show_default=True)
@click.option("--connections", type=int, default=2, show_default=True, help="Sessions at once.")
@pass_session
def declare(session: Session, /, database: str, every: int, longest: int, **said: Any) -> None:
    """For operators: declare a backup of DATABASE. The customer must consent to it first."""
    body = {"database": database, "every_s": every, "longest_s": longest, **said}
    print_item(session.api().post("backups", body=body), session.output, _COLUMNS)


@backups.command()
@click.argument("backup")
@pass_session
def setup(session: Session, backup: str) -> None:
    """What the DBA runs once on the server, and the lines for its pg_hba.conf."""
    click.echo(session.api().get("backups", backup, "setup")["sql"], nl=False)


@backups.command()
@click.argument("backup")
@pass_session
def end(session: Session, backup: str) -> None:
    """End BACKUP: a login of it that is open is ended, and no other is made."""
    print_item(session.api().post("backups", backup, "end"), session.output, _COLUMNS)


@backups.command("runs")
@click.argument("backup")
@pass_session
def list_runs(session: Session, backup: str) -> None:
    """Each run, what came of it, where it lies and when it dies; the youngest first."""
    print_list(list(session.api().pages("backups", backup, "runs")), _RUNS, session.output)


@backups.command()
@click.argument("backup")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("-f", "--file", type=FILE, help="What COMMAND writes; else its output is the backup.")
@click.option("--place", help="Where it lies in the end; else as it was declared.")
@click.option("--keep-days", type=int, help="Else as it was declared.")
@click.option(
    "--ca-file",
    type=click.Path(path_type=Path),
    envvar="PGSSLROOTCERT",
    show_envvar=True,
    help="Certificates that vouch for the database's server, in place of the public ones.",
)
@pass_session
@click.pass_context
def run(
    ctx: click.Context,
    session: Session,
    /,
    backup: str,
    command: tuple[str, ...],
    file: Path | None,
    place: str | None,
    keep_days: int | None,
    ca_file: Path | None,
) -> None:
    """One run of BACKUP: a login, COMMAND with it, and the report, whatever comes of it.

    COMMAND stands after -- and finds its server and password in PG* variables. Its output passes
    through to ours and is measured on the way: broker backups run bkp_... -- pg_dump --schema=app
    --format=custom > app.dump
    """
    from broker.cli.backing_up import Made, run_once

    made = Made(file, place, keep_days)
    ctx.exit(run_once(session.api(), backup, list(command), made, ca_file))


@backups.command()
@click.argument("run_id", metavar="RUN")
@click.option("--failed", is_flag=True, help="Nothing came of it.")
@click.option("-f", "--file", type=FILE, help="The backup: its bytes and digest are taken.")
@click.option("--bytes", "size", type=int, help="Where there is no file.")
@click.option("--digest", help="SHA-256, hexadecimal, where there is no file.")
@click.option("--place", help="Where it lies.")
@click.option("--keep-days", type=int, help="Else as it was declared.")
@pass_session
def report(
    session: Session,
    *,
    run_id: str,
    failed: bool,
    file: Path | None,
    size: int | None,
    digest: str | None,
    place: str | None,
    keep_days: int | None,
) -> None:
    """For the program of a backup: say what came of RUN; its login ends with that."""
    from broker.cli import backing_up

    if file is not None:
        size, digest = backing_up.measure(file)
    body = {"outcome": "failed" if failed else "done", "bytes": size, "digest": digest}
    body |= {"place": place, "keep_days": keep_days}
    sent = {name: value for name, value in body.items() if value is not None}
    print_item(
        session.api().post("backup-runs", run_id, "report", body=sent), session.output, _RUNS
    )


@backups.command()
@click.argument("run_id", metavar="RUN")
@pass_session
def gone(session: Session, run_id: str) -> None:
    """For the program of a backup: what RUN made was destroyed."""
    print_item(session.api().post("backup-runs", run_id, "gone"), session.output, _RUNS)


@click.group(cls=Noun)
def restores() -> None:
    """Restores of backups: each is allowed by the customer, and used once."""


@restores.command("list")
@click.argument("tenant")
@pass_session
def list_restores(session: Session, tenant: str) -> None:
    """Those that were asked of TENANT, the youngest first."""
    print_list(list(session.api().pages("tenants", tenant, "restores")), _RESTORES, session.output)


@restores.command()
@click.argument("run_id", metavar="RUN")
@click.option("--ticket", required=True)
@click.option("--reason", required=True, help="The customer reads it.")
@click.option("--target", required=True, help="Where it is to be put; the customer reads it.")
@click.option("--hours", type=int, default=24, show_default=True)
@pass_session
def ask(session: Session, /, run_id: str, **said: Any) -> None:
    """Ask the customer to allow the restore of what RUN made."""
    made = session.api().post("backup-runs", run_id, "restores", body=said)
    print_item(made, session.output, _RESTORES)


@restores.command()
@click.argument("restore")
@pass_session
def allow(session: Session, restore: str) -> None:
    """For the customer's admins: RESTORE may be used once, within its hours."""
    print_item(session.api().post("restores", restore, "allow"), session.output, _RESTORES)


@restores.command()
@click.argument("restore")
@pass_session
def refuse(session: Session, restore: str) -> None:
    """For the customer's admins: refuse RESTORE, or take back what was allowed and not used."""
    print_item(session.api().post("restores", restore, "refuse"), session.output, _RESTORES)


@restores.command()
@click.argument("restore")
@click.option("-f", "--file", type=FILE, required=True, help="The backup that is to be restored.")
@pass_session
def use(session: Session, restore: str, file: Path) -> None:
    """Begin RESTORE, which is used up by it, and check that FILE is the backup that was allowed."""
    from broker.cli import backing_up

    answer = session.api().post("restores", restore, "use")
    backing_up.check_same(file, str(answer["digest"]))
    click.echo(f"{file} is the backup that {restore} is for; restore it now")
