"""Copies of a tenant's PostgreSQL database into a sandbox: the mechanics, with plain inputs.

One file per job: `exporter` holds the snapshot that everything reads; `archive` (with `toc`) moves
definitions; `rows` moves rows; `sequences` follows them; `sandbox` makes and drops the database;
`checks` compares what arrived with what there was. `tools` runs PostgreSQL's own programs.

What must stay true: a definition from the tenant is untrusted code, so it runs only as a sandbox
owner who owns nothing else; it travels as an archive and never as a script, so that no program of
ours parses it; and no error text of ours carries a row.
"""

from __future__ import annotations

from typing import NamedTuple

from broker.errors import Conflict, Unavailable


class ObjectId(NamedTuple):
    """What a catalogue knows an object by: names are the tenant's text, these are not."""

    catalogue: int  # oid of the system catalogue, e.g. 1259 for pg_class
    oid: int


class SourceChanged(Conflict):
    """A table was dropped, truncated or rewritten while the snapshot was taken; start over."""

    type = "source-changed"


class SourceBusy(Unavailable):
    """A table in scope is locked by the tenant's own work; nothing was read. Try later."""

    type = "source-busy"


class CopyFailed(Unavailable):
    """A server or a tool refused a step of the copy; what was begun is rolled back.

    The message never holds a row: the server's details and contexts are left out.
    """

    type = "copy-failed"
