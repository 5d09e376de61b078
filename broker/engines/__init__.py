"""Port: the databases of tenants, and the servers where copies run. Driver: `postgres/`.

The shapes here are what plans, grants and snapshots speak of; they hold names and types, and never
a row, a value or a statistic. Literals that stand in a catalogue (defaults, checks, labels, bodies)
are kept apart, in `Literal`, for they are shown before approval only to the tenant (G1).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from broker.engines.lines import Lines
from broker.errors import Unavailable
from broker.secret import Secret


class ServerUnavailable(Unavailable):
    """The server did not answer or refused our login; nothing is known of what is on it."""

    type = "server-unavailable"


@dataclass(frozen=True, slots=True)
class Target:
    """A database to work on and our login there.

    `host` is a socket folder, a loopback address, or a name; off loopback TLS `verify-full` with
    `ca_file` is used, or the start of work is refused. `application_name` is what the server's
    DBA sees of us. `cluster` is the system identifier that must be found there, and `timeline` the
    one on which alone something may be made; None asks for none. `next_password` is tried where
    `password` is refused: it is being changed. `standbys` are (host, port) of those on which the
    end of a login must be confirmed too. Sessions and tools that are opened on it are held in
    `lines`, where that is given, to be cut off.
    """

    host: str
    port: int
    dbname: str
    user: str
    password: Secret[str] = field(repr=False)
    ca_file: str | None = None
    application_name: str = "support-access-broker"
    cluster: str | None = None
    timeline: int | None = None
    next_password: Secret[str] | None = field(default=None, repr=False)
    standbys: tuple[tuple[str, int], ...] = ()
    lines: Lines | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Column:
    """`type` as format_type() gives it; `base_type` without typmod, domains resolved, e.g.
    `character varying`, `timestamp with time zone`, `numeric`, `integer[]`.
    """

    name: str
    type: str
    base_type: str
    max_length: int | None = None  # of varchar(n), char(n)
    not_null: bool = False
    generated: bool = False  # stored generated: computed by the sandbox itself
    identity: bool = False
    has_default: bool = False
    domain: str | None = None  # the domain's name where the type is one
    domain_checks: bool = False  # the domain (or one below it) has CHECKs or NOT NULL
    enum: bool = False
    tenant_type: bool = False  # a type that the tenant made (enum, domain, composite, range)


@dataclass(frozen=True, slots=True)
class Constraint:
    """`kind` is `primary`, `unique` (also unique indexes), `foreign`, `check` or `exclusion`.

    `columns` are those it reads; an expression index lists the columns in its expression and has
    `expression` set. For a foreign key, `target` and `target_columns` name what it points at.
    """

    name: str
    kind: str
    columns: tuple[str, ...]
    target: tuple[str, str] | None = None  # (schema, table)
    target_columns: tuple[str, ...] = ()
    expression: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """`kind` is `table`, `partitioned` (a root: no rows of its own) or `partition` (a leaf).

    `estimated_rows` and `size_bytes` come from pg_class: sizes, part of the standing consent.
    """

    schema: str
    name: str
    kind: str
    columns: tuple[Column, ...]
    constraints: tuple[Constraint, ...] = ()
    parent: tuple[str, str] | None = None  # of a partition
    partition_key: tuple[str, ...] = ()  # columns by which a root is divided
    estimated_rows: int = 0
    size_bytes: int = 0
    row_security: bool = False
    parts_elsewhere: bool = False  # a root with partitions in schemas that were not read

    @property
    def full_name(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class Literal:
    """A piece of definition that holds values or free text: shown only to the tenant.

    `kind` is `default`, `check`, `enum`, `view`, `function`, `bound`, `index` or `policy`; `where`
    names the object.
    """

    kind: str
    where: str
    text: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What a database is made of, sorted by name: equal databases give equal catalogues.

    `obstacles` are objects that a copy made by an unprivileged owner can't have, each with a
    sentence (C functions, foreign tables, event triggers, extensions …).
    """

    server_version: int  # e.g. 170010
    tables: tuple[Table, ...]
    views: tuple[str, ...] = ()  # full names, materialised ones too
    sequences: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    obstacles: tuple[str, ...] = ()
    literals: tuple[Literal, ...] = ()


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of a column, and why, as a sentence for the customer's admin.

    `mask` names one of the engine's masks; `keep` leaves the value as it is. Columns with the same
    `label` give the same output for the same input, so that joins hold; others do not link.
    `paths` are those of a JSON document that stay, each with `keep` or a mask. `subject` is the
    column of the same row by whose value a date is shifted.
    """

    mask: str
    label: str
    why: str
    paths: tuple[tuple[str, str], ...] = ()
    subject: str = ""
