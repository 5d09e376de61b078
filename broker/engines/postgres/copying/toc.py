"""The table of contents of an archive: which entries are restored, by kind and id. No I/O.

`pg_restore -l` prints `dump id; catalogue oid KIND schema name owner`. Schema, name and owner are
the tenant's text, and a kind may be the beginning of another (`DEFAULT ACL t` is the default of a
column in a schema called ACL). So a kind is only believed together with the catalogue it stands in,
and an entry is chosen by its ids. A kind that is not known here is left out, and named.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from broker.engines.postgres.copying import ObjectId

_LINE = re.compile(r"(\d+); (\d+) (\d+) (.*)")
_PUBLIC = "- public "
# What each system catalogue's objects are called in an archive; 0 is what pg_dump makes up itself.
# Within one line no kind is the beginning of another followed by a blank, but for the 0 line's
# BLOB and DATABASE, which are left out whichever it is.
_KINDS: dict[int, tuple[str, ...]] = {
    0: (
        "TABLE DATA", "TABLE ATTACH", "INDEX ATTACH", "SEQUENCE OWNED BY", "SEQUENCE SET",
        "MATERIALIZED VIEW DATA", "ROW SECURITY", "ACL", "COMMENT", "SECURITY LABEL",
        "USER MAPPING", "STATISTICS DATA", "BLOBS", "BLOB", "DATABASE PROPERTIES",
    ),
    1259: ("TABLE", "VIEW", "MATERIALIZED VIEW", "SEQUENCE", "INDEX", "FOREIGN TABLE"),
    2604: ("DEFAULT",),
    2606: ("CONSTRAINT", "CHECK CONSTRAINT", "FK CONSTRAINT"),
    1255: ("FUNCTION", "PROCEDURE", "AGGREGATE"),
    1247: ("TYPE", "DOMAIN", "SHELL TYPE"),
    2615: ("SCHEMA",),
    3079: ("EXTENSION",),
    3456: ("COLLATION",),
    2607: ("CONVERSION",),
    2617: ("OPERATOR",),
    2616: ("OPERATOR CLASS",),
    2753: ("OPERATOR FAMILY",),
    2618: ("RULE",),
    2620: ("TRIGGER",),
    3256: ("POLICY",),
    3381: ("STATISTICS",),
    3600: ("TEXT SEARCH DICTIONARY",),
    3601: ("TEXT SEARCH PARSER",),
    3602: ("TEXT SEARCH CONFIGURATION",),
    3764: ("TEXT SEARCH TEMPLATE",),
    826: ("DEFAULT ACL",),
    1262: ("DATABASE",),
    1417: ("SERVER",),
    2328: ("FOREIGN DATA WRAPPER",),
    2601: ("ACCESS METHOD",),
    2605: ("CAST",),
    2612: ("PROCEDURAL LANGUAGE",),
    2613: ("BLOB METADATA", "BLOB"),
    3466: ("EVENT TRIGGER",),
    3576: ("TRANSFORM",),
    6100: ("SUBSCRIPTION",),
    6102: ("SUBSCRIPTION TABLE",),
    6104: ("PUBLICATION",),
    6106: ("PUBLICATION TABLE",),
    6237: ("PUBLICATION TABLES IN SCHEMA",),
}  # fmt: skip
LEFT_OUT = {
    "ACL": "the tenant's roles do not exist here",
    "DEFAULT ACL": "the tenant's roles do not exist here",
    "COMMENT": "comments are free text",
    "SECURITY LABEL": "labels are free text",
    "ACCESS METHOD": "it needs a superuser",
    "CAST": "it can change what our own statements do",
    "EVENT TRIGGER": "it needs a superuser",
    "PROCEDURAL LANGUAGE": "it needs a superuser",
    "TRANSFORM": "it needs a superuser",
    "TEXT SEARCH PARSER": "it needs a superuser",
    "TEXT SEARCH TEMPLATE": "it needs a superuser",
    "FOREIGN DATA WRAPPER": "it reaches other servers",
    "FOREIGN TABLE": "it reaches other servers",
    "SERVER": "it reaches other servers",
    "USER MAPPING": "it holds a password for another server",
    "PUBLICATION": "it replicates",
    "PUBLICATION TABLE": "it replicates",
    "PUBLICATION TABLES IN SCHEMA": "it replicates",
    "SUBSCRIPTION": "it replicates",
    "SUBSCRIPTION TABLE": "it replicates",
    "DATABASE": "the sandbox has settings of its own",
    "DATABASE PROPERTIES": "the sandbox has settings of its own",
    "STATISTICS DATA": "statistics hold values",
    "TABLE DATA": "rows come masked, by another way",
    "SEQUENCE SET": "sequences are set after the rows",
    "BLOB": "large objects are not copied",
    "BLOBS": "large objects are not copied",
    "BLOB METADATA": "large objects are not copied",
}
# Extensions that any owner may create, and that reach neither files nor the network.
_EXTENSIONS = frozenset(
    {
        "btree_gin", "btree_gist", "citext", "hstore", "ltree", "pg_trgm", "pgcrypto",
        "plpgsql", "unaccent", "uuid-ossp",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TocEntry:
    """One object in an archive. `id` is the object's in the source, (0, 0) for parts of others."""

    dump_id: int
    id: ObjectId
    kind: str
    rest: str  # schema, name and owner, run together: the tenant's text, never to be taken apart


@dataclass(frozen=True, slots=True)
class Skipped:
    entry: TocEntry
    why: str


def read_toc(listing: str) -> list[TocEntry]:
    """Entries of what `pg_restore -l` printed, in the order in which they are to be restored."""
    matches = (_LINE.fullmatch(line) for line in listing.split("\n") if not line.startswith(";"))
    return [_entry(*match.groups()) for match in matches if match]


def _entry(dump_id: str, catalogue: str, oid: str, text: str) -> TocEntry:
    known = [kind for kind in _KINDS.get(int(catalogue), ()) if text.startswith(kind + " ")]
    kind = max(known, key=len, default="")
    identity = ObjectId(int(catalogue), int(oid))
    return TocEntry(int(dump_id), identity, kind, text[len(kind) :].removeprefix(" "))


def find_reason_to_skip(entry: TocEntry) -> str | None:
    """Why this entry is never restored into a sandbox; None when it may be."""
    if not entry.kind:
        return "a kind of object that this broker does not know"
    if entry.kind == "EXTENSION":
        # An extension has no schema and no owner here: the rest is its name alone.
        name = entry.rest.removeprefix("- ").removesuffix(" ")
        return None if name in _EXTENSIONS else "not among the extensions allowed in a sandbox"
    return LEFT_OUT.get(entry.kind)


def is_public_schema(entry: TocEntry) -> bool:
    """Whether this makes the schema `public`, which every new database has.

    A schema called "public x" looks the same; what lies in it then fails to restore, loudly.
    """
    return entry.kind == "SCHEMA" and entry.rest.startswith(_PUBLIC)
