"""Definitions of a tenant's database: dumped under the snapshot, restored by a nobody.

An archive lives in memory (memfd) until the caller seals it; it is never a file, and never a
script, for `psql` would obey commands hidden in names. What must stay true: it is restored only
through a login that owns the sandbox's objects and nothing else, without owners and grants, and
only the entries that `toc` lets pass.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Collection, Sequence
from types import TracebackType
from typing import Literal, Self

from broker.engines import Target
from broker.engines.postgres.connect import tool_connection
from broker.engines.postgres.copying import CopyFailed
from broker.engines.postgres.copying.blanking import blank
from broker.engines.postgres.copying.toc import (
    LEFT_OUT,
    Skipped,
    TocEntry,
    find_reason_to_skip,
    is_public_schema,
    read_toc,
)
from broker.engines.postgres.copying.tools import tool

Section = Literal["pre-data", "post-data"]
OWN_SCHEMAS = "sab_s_*"  # scopes of live access: ours, not the tenant's
# Parts of a copy that may fail without making it wrong: they compute from what is already there.
MAY_FAIL = frozenset({"MATERIALIZED VIEW DATA"})
_DUMP = (
    "--format=custom", "--section=pre-data", "--section=post-data",
    "--no-password", "--lock-wait-timeout=5s",
    "--no-owner", "--no-acl", "--no-comments", "--no-publications", "--no-subscriptions",
    "--no-security-labels", "--no-tablespaces",
)  # fmt: skip
# The last step of a copy commits in earnest, and with it all that went before: until then a crash
# of the test server costs the copy anyway.
_RESTORE_OPTIONS = {"client_min_messages": "error", "synchronous_commit": "off"}
_RESTORE = ("--no-password", "--no-owner", "--no-acl", "--exit-on-error")


class Archive:
    """An archive of pg_dump's, in memory. `path` opens it in this process and its children."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("archive", os.MFD_CLOEXEC)

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        archive = cls()
        with open(archive.fd, "wb", closefd=False) as stream:
            stream.write(content)
        return archive

    @property
    def path(self) -> str:
        return f"/proc/self/fd/{self.fd}"

    def read_bytes(self) -> bytes:
        with open(self.path, "rb") as stream:  # noqa: PTH123  # a descriptor, opened afresh
            return stream.read()

    def close(self) -> None:
        descriptor, self.fd = self.fd, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def dump_definitions(
    target: Target,
    snapshot_id: str,
    *,
    schemas: Sequence[str] = (),
    checkpoint: Callable[[], None] | None = None,
) -> Archive:
    """Dump both sections under an exported snapshot; the caller closes the archive.

    Both in one: only then does pg_restore know which tables an entry of `post-data` locks, and runs
    no two at once that would wait for each other (keys in a circle end in a deadlock else).

    Of `schemas` and the extensions alone: what belongs to no schema (foreign servers, passwords of
    user mappings) then never gets into the archive. Without them, of all but ours. The text of what
    is never restored is blank. `checkpoint` may raise to cancel. Raises CopyFailed.
    """
    archive = Archive()
    arguments = [*_DUMP, f"--snapshot={snapshot_id}"]
    if schemas:
        arguments += ["--extension=*", *(f"--schema={_pattern(name)}" for name in schemas)]
    else:
        arguments.append(f"--exclude-schema={OWN_SCHEMAS}")
    try:
        with (
            tool_connection(target) as connection,
            tool(
                "pg_dump",
                [*arguments, f"--dbname={connection.dsn}"],
                connection=connection,
                stdout=archive.fd,
            ) as child,
        ):
            child.check_ended_well(checkpoint)
        blank(archive.path, LEFT_OUT)
    except BaseException:
        archive.close()
        raise
    return archive


def _pattern(name: str) -> str:
    """A pattern that a name alone matches: in quotes no sign has a meaning."""
    return '"' + name.replace('"', '""') + '"'


def list_entries(archive: Archive, section: Section) -> list[TocEntry]:
    """What is in a section of an archive, in its order. Raises CopyFailed when it is no archive."""
    arguments = ["--list", f"--section={section}", archive.path]
    with tool("pg_restore", arguments, fds=[archive.fd]) as child:
        listing = child.stdout.read().decode(errors="replace")
        child.check_ended_well()
    return read_toc(listing)


def restore(
    archive: Archive,
    target: Target,
    section: Section,
    *,
    skip: Callable[[TocEntry], str | None] = lambda _: None,
    may_fail: Collection[str] = MAY_FAIL,
    jobs: int = 1,
    checkpoint: Callable[[], None] | None = None,
) -> list[Skipped]:
    """Restore a section of an archive into the sandbox `target`, as the sandbox owner whose login
    it holds.

    `skip` gives a reason to leave an entry out, beside those that are always left out. An entry of
    the kinds `may_fail` is restored by itself; a failing one is listed and passed over. Raises
    CopyFailed at the first other failure.
    """
    skipped: list[Skipped] = []
    kept: list[TocEntry] = []
    for entry in list_entries(archive, section):
        why = find_reason_to_skip(entry) or skip(entry)
        if why is not None:
            skipped.append(Skipped(entry, why))
        elif not is_public_schema(entry):
            kept.append(entry)
    for loose, group in itertools.groupby(kept, key=lambda entry: entry.kind in may_fail):
        if not loose:
            _run(archive, target, list(group), jobs=jobs, checkpoint=checkpoint)
            continue
        for entry in group:
            try:
                _run(archive, target, [entry], checkpoint=checkpoint)
            except CopyFailed as error:
                skipped.append(Skipped(entry, error.message))
    return skipped


def _run(
    archive: Archive,
    target: Target,
    entries: Sequence[TocEntry],
    *,
    jobs: int = 1,
    checkpoint: Callable[[], None] | None = None,
) -> None:
    """Restore exactly these entries, chosen by number. Raises CopyFailed at the first failure."""
    chosen = "".join(f"{entry.dump_id};\n" for entry in entries)
    with (
        Archive.from_bytes(chosen.encode()) as listed,
        tool_connection(target, options=_RESTORE_OPTIONS) as connection,
        tool(
            "pg_restore",
            [
                *_RESTORE,
                f"--jobs={jobs}",
                f"--use-list={listed.path}",
                f"--dbname={connection.dsn}",
                archive.path,
            ],
            connection=connection,
            fds=[archive.fd, listed.fd],
        ) as child,
    ):
        child.check_ended_well(checkpoint)
