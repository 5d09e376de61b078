"""A tenant's transparency log: its export, and its check, which needs neither us nor a network.

`verify` and `verify-proof` read a file and keys; they import nothing of the database or the network
(G10).
"""

from __future__ import annotations

import json
import sys
from itertools import islice
from pathlib import Path

import click

from broker.cli.command import Noun
from broker.cli.files import open_file, read_file, read_text, write_new, write_pieces
from broker.cli.output import print_list
from broker.cli.plain import plain
from broker.cli.session import Session, pass_session
from broker.errors import Invalid

_FILE = click.Path(path_type=Path)
_ENTRY = ("position", "at", "kind", "actor_name", "side", "subject")
_PAGE = 100


@click.group(cls=Noun)
def log() -> None:
    """A tenant's log: export it, verify it offline, see that it only grows."""


@log.command()
@click.argument("tenant")
@click.option("--last", type=click.IntRange(1, 10_000), default=50, show_default=True)
@pass_session
def show(session: Session, tenant: str, last: int) -> None:
    """What the log of TENANT says, the youngest first. To prove it: export it, then verify."""
    found = session.api().pages("tenants", tenant, "log", "entries", limit=min(last, _PAGE))
    print_list(list(islice(found, last)), _ENTRY, session.output)


@log.command()
@click.argument("tenant")
@click.option("-f", "--file", type=_FILE, help="Where to; must not be there yet.")
@pass_session
def export(session: Session, tenant: str, file: Path | None) -> None:
    """Get the log of TENANT as one bundle that `broker log verify` checks."""
    if file is None and sys.stdout.isatty():
        raise Invalid("say where the bundle goes with -f FILE")
    pieces = session.api().get_pieces("tenants", tenant, "log")
    if file is None:
        sys.stdout.buffer.writelines(pieces)
    else:
        count = write_pieces(file, pieces)
        click.echo(f"{count} bytes in {file}; check them with: broker log verify {file}")


@log.command()
@click.argument("tenant")
@click.option("--format", "form", type=click.Choice(("jsonl", "csv", "ocsf")), default="jsonl")
@click.option("--kind", help="A kind, or a noun for all of its kinds: grant.")
@click.option("--person", help="Who acted, or whom it is about.")
@click.option("--ticket", help="With all that was asked, made and ended under it.")
@click.option("--since", help="From this instant on, e.g. 2026-03-01T00:00:00Z.")
@click.option("--until", help="Before this instant.")
@click.option("-f", "--file", type=_FILE, help="Where to; must not be there yet.")
@pass_session
def events(
    session: Session, /, *, tenant: str, form: str, file: Path | None, **wanted: str | None
) -> None:
    """Signed entries of the log of TENANT for other systems: JSON Lines, CSV or OCSF."""
    from broker.cli.log_events import fetch_all

    content = fetch_all(session.api(), tenant, form, wanted)
    if file is None:
        sys.stdout.buffer.write(content)
    else:
        write_new(file, content)
        click.echo(f"{len(content)} bytes in {file}")


@log.command()
@click.option("-f", "--file", type=_FILE, help="Where to; must not be there yet.")
@pass_session
def schemas(session: Session, file: Path | None) -> None:
    """A JSON Schema of each kind of entry, for programs that read logs."""
    from broker.cli.output import print_json

    found = session.api().get("log", "schemas")
    if file is None:
        print_json(found)
    else:
        write_new(file, json.dumps(found, indent=1).encode())


@log.command()
@click.argument("tenant")
@click.option("--to", "target", required=True, help="https://… or syslog://HOST:PORT, over TLS.")
@click.option("--format", "form", type=click.Choice(("jsonl", "ocsf")), default="ocsf")
@click.option("--every", type=click.IntRange(1, 3600), help="Go on, looking every so many seconds.")
@pass_session
def stream(session: Session, tenant: str, target: str, form: str, every: int | None) -> None:
    """Send each signed entry of the log of TENANT to a webhook or syslog, at least once.

    Where it came to is kept in BROKER_HOME/streams, and moves only once the other side has taken
    what was sent: started again, it goes on from there.
    """
    from broker.cli.log_events import Stream

    sending = Stream(session.api(), tenant, form, target, session.home)
    click.echo(f"{sending.run(every)} entries were taken by {target}.")


@log.command()
@click.argument("tenant")
@pass_session
def check(session: Session, tenant: str) -> None:
    """See that the log of TENANT continues the checkpoint that you saw last, and remember the next.

    Reads a few hashes instead of the whole log. Exit 9: it was cut, rewritten or forked.
    """
    from broker.cli.trust import list_pinned
    from broker.cli.watching_log import see_growth

    click.echo(see_growth(session.api(), tenant, session.home, list_pinned(session.home)))


@log.command()
@click.argument("tenant")
@pass_session
def mail(session: Session, tenant: str) -> None:
    """Get the last checkpoint of the log of TENANT by mail, to be kept elsewhere."""
    session.api().post("tenants", tenant, "log", "checkpoint", "mail")
    click.echo("It is on its way to you; readers of the log get one every week as well.")


@log.command()
@click.argument("tenant")
@click.argument("position", type=click.IntRange(0))
@click.option("-f", "--file", type=_FILE, help="Where to; must not be there yet.")
@pass_session
def prove(session: Session, tenant: str, position: int, file: Path | None) -> None:
    """Get one entry of the log of TENANT with its proof: `broker log verify-proof` checks it."""
    proof = session.api().get_bytes("tenants", tenant, "log", "proof", index=position)
    if file is None:
        sys.stdout.buffer.write(proof)
    else:
        write_new(file, proof)
        click.echo(f"{file}; check it with: broker log verify-proof {file}")


@log.command("verify-proof")
@click.argument("file", type=_FILE)
@click.option("--key", "keys", type=_FILE, multiple=True, help="In place of the pinned keys.")
@pass_session
def verify_proof(session: Session, file: Path, keys: tuple[Path, ...]) -> None:
    """Check one entry and its proof (C2SP tlog-proof) in FILE, without a network."""
    from broker.audit import proof_text
    from broker.cli.trust import load_keys

    trusted = load_keys(keys, session.home)
    proof, entry = proof_text.verify_proof(read_text(file), trusted)
    click.echo(plain(f"{entry.kind} of {entry.subject}, {entry.at:%Y-%m-%d %H:%M:%S} UTC."))
    click.echo(plain(f"It is entry {proof.index} of {entry.log_origin}, as signed."))


@log.command()
@click.argument("file", type=_FILE)
@click.option(
    "--key",
    "keys",
    type=_FILE,
    multiple=True,
    help="A file of verifier keys, in place of those that were pinned.",
)
@click.option(
    "--checkpoint",
    "checkpoints",
    type=_FILE,
    multiple=True,
    help="A checkpoint that you kept: the log must still contain it.",
)
@click.option(
    "--witness",
    "witnesses",
    type=_FILE,
    multiple=True,
    help="A file of witnesses' keys: each must have cosigned the root log.",
)
@click.option(
    "--tsa",
    type=_FILE,
    multiple=True,
    help="A file of certificates (PEM): roots of timestamping authorities.",
)
@click.option(
    "--promise",
    "decisions",
    type=_FILE,
    multiple=True,
    help="A signed decision that you hold: the log must name it, by when it promised.",
)
@click.option("--keep-checkpoint", type=_FILE, help="Also write its last checkpoint to this file.")
@click.option(
    "--no-memory",
    is_flag=True,
    help="Neither compare with the last checkpoint seen of this log, nor remember this one.",
)
@pass_session
def verify(
    session: Session,
    file: Path,
    keys: tuple[Path, ...],
    checkpoints: tuple[Path, ...],
    witnesses: tuple[Path, ...],
    tsa: tuple[Path, ...],
    decisions: tuple[Path, ...],
    keep_checkpoint: Path | None,
    *,
    no_memory: bool,
) -> None:
    """Check the bundle in FILE, without a network.

    Trust comes from keys that you pinned (broker tenants pin) or name with --key. What only the
    bundle itself vouches for is self-consistent, not authenticated: exit 9. The last checkpoint is
    remembered, and the next bundle of this log must contain it.
    """
    from broker.audit.bundle import find_origin
    from broker.audit.statements import read_promise
    from broker.audit.timestamps import load_roots
    from broker.audit.verify import Others, verify_bundle
    from broker.cli.findings import show_report
    from broker.cli.trust import (
        find_cosigner,
        find_seen,
        find_slot,
        load_keys,
        load_witnesses,
        remember_seen,
    )

    kept = [read_text(checkpoint) for checkpoint in checkpoints]
    trusted = load_keys(keys, session.home)
    promised = [read_promise(read_file(one), trusted) for one in decisions]
    with open_file(file) as bundle:
        origin = None if no_memory else find_origin(bundle)
        bundle.seek(0)
        seen = None if origin is None else find_seen(session.home, origin)
        report = verify_bundle(
            bundle,
            trusted,
            [*kept, seen] if seen is not None else kept,
            Others(
                [
                    *(key for one in witnesses for key in load_witnesses(one)),
                    *(find_cosigner(session.home, origin) if origin is not None else ()),
                ],
                [root for one in tsa for root in load_roots(read_file(one))],
                None if origin is None else find_slot(session.home, origin),
                promised,
            ),
        )
    show_report(report, session.output, f"The log in {file}")
    if not no_memory:
        remember_seen(session.home, report.summary.origin, report.summary.last_note)
    if keep_checkpoint is not None:
        write_new(keep_checkpoint, report.summary.last_note.encode())
