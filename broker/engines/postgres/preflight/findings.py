"""What a check finds, and what a check may ask.

What must stay true: a finding names objects, settings and roles, never a value of the tenant's; its
SQL is whole, quoted by the server or by psycopg, one statement a line, and is never run by us.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, LiteralString

from psycopg import sql

from broker.engines.postgres.account import MARK, READER
from broker.engines.postgres.looks import Connection

Severity = Literal["fatal", "warning", "note"]
_NAMED = 10  # objects in a sentence; the SQL names all


@dataclass(frozen=True, slots=True)
class Finding:
    """`fatal`: nothing is issued while it stands. `warning`: support or a copy may reach further
    than it should, or an end may come late. `note`: to know, not to mend.

    `code` is the stable name; `why` says what follows from it; `sql` is what the DBA may run as
    superuser in this database, in psql: some lines can't stand in a transaction. None where no
    statement can mend it; `why` then says what does.
    """

    code: str
    severity: Severity
    what: str
    why: str
    sql: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """One connection to the database that is checked, and what is registered of it."""

    connection: Connection
    schemas: tuple[str, ...] = ()
    known_logins: tuple[str, ...] = ()
    standbys: int = 0

    @property
    def version(self) -> int:
        return self.connection.info.server_version

    @property
    def login(self) -> str:
        """Our login, quoted."""
        return quoted(self.connection.info.user)

    @property
    def database(self) -> str:
        """The database's name, quoted."""
        return quoted(self.connection.info.dbname)

    def rows(self, question: LiteralString) -> list[tuple[Any, ...]]:
        """`%(schemas)s`, `%(known)s`, `%(mark)s` and `%(reader)s` may stand in the question."""
        values = {
            "schemas": list(self.schemas),
            "known": list(self.known_logins),
            "mark": MARK,
            "reader": READER,
        }
        return self.connection.execute(question, values).fetchall()

    def names(self, question: LiteralString) -> list[str]:
        """The first column of each row."""
        return [row[0] for row in self.rows(question)]


Check = Callable[[Place], Iterator[Finding]]


def quoted(name: str) -> str:
    return sql.Identifier(name).as_string()


def listed(names: Iterable[str]) -> str:
    """The first ten, and how many more."""
    every = list(names)
    more = f" and {len(every) - _NAMED} more" if len(every) > _NAMED else ""
    return ", ".join(every[:_NAMED]) + more


def script(statements: Iterable[str]) -> str:
    return "\n".join(f"{statement};" for statement in statements)


def revokes(grants: Sequence[tuple[Any, ...]]) -> str:
    """REVOKE FROM PUBLIC for rows of (kind, quoted name, privileges, quoted grantor).

    `grantor` is set where it is not the owner: a superuser's REVOKE takes away only what the owner
    gave, so the grantor's own role must say it.
    """
    statements: list[str] = []
    for kind, name, privileges, grantor in grants:
        revoke = f"REVOKE {privileges} ON {kind} {name} FROM PUBLIC"
        statements += [f"SET ROLE {grantor}", revoke, "RESET ROLE"] if grantor else [revoke]
    return script(statements)
