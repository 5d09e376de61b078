"""Certificates of destruction: read, fetched, and checked without us."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from broker.cli.command import Noun
from broker.cli.files import read_file, write_new
from broker.cli.listing import Listing, listed
from broker.cli.output import print_item, print_list
from broker.cli.session import Session, pass_session
from broker.errors import Invalid

if TYPE_CHECKING:
    from broker.audit.findings import Report

_FILE = click.Path(path_type=Path)
_COLUMNS = ("id", "snapshot", "tenant", "issued_at", "revoked_at")
_TOLD = ("certificate", "tenant", "snapshot", "database", "grant", "ticket", "why", "residue")


@click.group(cls=Noun)
def certificates() -> None:
    """Signed statements that a copy was destroyed."""


@certificates.command("list")
@listed("issued_at", "tenant", "state")
@pass_session
def list_certificates(session: Session, *, listing: Listing) -> None:
    """Certificates that you may see: `valid`, or `revoked` since."""
    found = session.api().pages("certificates", **listing.query)
    print_list(listing.take(found), _COLUMNS, session.output)


@certificates.command()
@click.argument("certificate")
@pass_session
def show(session: Session, certificate: str) -> None:
    """What CERTIFICATE says. To check its signature: get it, then verify the file."""
    item = session.api().get("certificates", certificate)
    statement = item.get("statement")
    if session.output == "table" and isinstance(statement, dict):
        print_item(_told(statement), "table")
    else:
        print_item(item, session.output, _COLUMNS)


def _told(statement: Mapping[str, Any]) -> dict[str, Any]:
    """The lines that a person reads: what, why, when, and how many looks found nothing."""
    if statement.get("type") in {"decision", "end_of_access"}:
        return _flat(statement)
    told = {name: statement.get(name) for name in _TOLD}
    times = statement.get("at")
    told |= {f"{name}_at": at for name, at in times.items()} if isinstance(times, dict) else {}
    for name in ("inventory", "looks"):
        told[name] = len(statement.get(name) or [])
    return told


def _flat(statement: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that a short statement says, a line each."""
    lines: dict[str, Any] = {}
    for name, value in statement.items():
        if isinstance(value, dict):
            lines |= {f"{name}_{inner}": said for inner, said in value.items()}
        else:
            lines[name] = value
    return lines


@certificates.command()
@click.argument("certificate")
@click.option("-f", "--file", type=_FILE, help="Where to; must not be there yet.")
@click.option("--revocation", is_flag=True, help="The statement that it was proved wrong.")
@click.option("--timestamp", is_flag=True, help="A third party's time for it (RFC 3161).")
@click.option("--pdf", type=click.Choice(["en", "fr"]), help="For reading and filing, with names.")
@pass_session
def get(
    session: Session,
    certificate: str,
    file: Path | None,
    *,
    revocation: bool,
    timestamp: bool,
    pdf: str | None,
) -> None:
    """Fetch the signed envelope of CERTIFICATE, byte for byte, or another form of it."""
    if file is None and sys.stdout.isatty():
        raise Invalid(f"say where it goes, for example: -f {certificate}.dsse.json")
    forms = {"revocation": revocation, "timestamp": timestamp, "pdf": pdf is not None}
    asked = [form for form, wanted in forms.items() if wanted]
    if len(asked) > 1:
        raise Invalid(f"say --{' or --'.join(asked)}, not both")
    form = asked[0] if asked else "envelope"
    content = session.api().get_bytes("certificates", certificate, form, lang=pdf)
    if file is None:
        sys.stdout.buffer.write(content)
        return
    write_new(file, content)
    signed = form in {"envelope", "revocation"}
    check = f"; check it with: broker certificates verify {file}" if signed else ""
    click.echo(f"{file}{check}")


@certificates.command()
@click.argument("file", type=_FILE)
@click.option(
    "--key",
    "keys",
    type=_FILE,
    multiple=True,
    help="A file of verifier keys, in place of those that were pinned.",
)
@click.option(
    "--passkey",
    "passkeys",
    multiple=True,
    metavar="FINGERPRINT",
    help="A passkey of an admin of yours; a decision must be signed by one of those given.",
)
@click.option("--timestamp", type=_FILE, help="A third party's time for it, to be checked too.")
@click.option("--tsa", type=_FILE, help="The root certificates (PEM) of who made the timestamp.")
@pass_session
def verify(
    session: Session,
    file: Path,
    keys: tuple[Path, ...],
    passkeys: tuple[str, ...],
    timestamp: Path | None,
    tsa: Path | None,
) -> None:
    """Check the signed statement in FILE without a network, and print it.

    A certificate or its revocation, a decision, or the end of a login.
    """
    from broker.audit.statements import verify_signed
    from broker.cli.findings import show_report
    from broker.cli.trust import load_keys

    if (timestamp is None) != (tsa is None):
        raise Invalid("a timestamp is checked with the root of who made it: --timestamp and --tsa")
    report = verify_signed(read_file(file), load_keys(keys, session.home), passkeys)
    if timestamp is not None and tsa is not None:
        report = _with_timestamp(report, read_file(file), timestamp, tsa)
    show_report(report, session.output, f"The statement in {file}")
    if report.statement is not None and session.output == "table":
        print_item(_told(report.statement), "table")


def _with_timestamp(report: Report, data: bytes, timestamp: Path, tsa: Path) -> Report:
    from broker.audit.stamped import Stamps
    from broker.audit.timestamps import load_roots

    stamps = Stamps(load_roots(read_file(tsa)))
    issued = _find_issued(report.statement)
    found = stamps.check("The statement", read_file(timestamp), data, since=issued)
    return replace(report, findings=(*report.findings, found))


def _find_issued(statement: Mapping[str, Any] | None) -> datetime | None:
    """When a certificate says that it was issued: its timestamp can't be from before that."""
    times = statement.get("at") if statement is not None else None
    told = times.get("issued") if isinstance(times, dict) else None
    try:
        return datetime.fromisoformat(told) if isinstance(told, str) else None
    except ValueError:
        return None
