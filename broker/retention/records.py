"""How a kind of record is found past its term, and taken: one statement each.

`since` is the instant from which its term runs, in SQL over the table; a row without one has none.
Rows that something open still needs are left (`unless`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_OPEN_GRANT = (
    "EXISTS (SELECT FROM access_grant g WHERE g.ticket_id = ticket.id "
    "AND g.state IN ('requested', 'approved'))"
)
_LIVE_COPY = (
    "EXISTS (SELECT FROM snapshot s JOIN access_grant g ON g.id = s.grant_id "
    "WHERE g.ticket_id = ticket.id AND s.state <> 'destroyed')"
)


@dataclass(frozen=True, slots=True)
class Record:
    """`blank` are the columns that lose what they say, where the row itself is kept."""

    table: str
    key: str
    since: str
    unless: str = "false"
    blank: Mapping[str, str] | None = None

    @property
    def past(self) -> str:
        """The condition under which a row is past its term; takes `:days` and `:at`."""
        over = f"({self.since}) < CAST(:at AS timestamptz) - make_interval(days => :days)"
        still = " OR ".join(
            f"{name} IS DISTINCT FROM {to}" for name, to in (self.blank or {}).items()
        )
        return f"{over} AND NOT ({self.unless})" + (f" AND ({still})" if still else "")

    @property
    def count(self) -> str:
        return f"SELECT count(*) FROM {self.table} WHERE {self.past}"  # noqa: S608  # no value in it

    @property
    def take(self) -> str:
        """At most `:most` rows."""
        chosen = f"SELECT {self.key} FROM {self.table} WHERE {self.past} LIMIT :most"  # noqa: S608
        which = f"WHERE ({self.key}) IN ({chosen})"
        if self.blank is None:
            return f"DELETE FROM {self.table} {which}"  # noqa: S608
        said = ", ".join(f"{name} = {to}" for name, to in self.blank.items())
        return f"UPDATE {self.table} SET {said} {which}"  # noqa: S608


RECORDS: Mapping[str, Record] = {
    "mails": Record("mail", "id", "sent_at"),
    "sessions": Record("web_session", "id", "coalesce(ended_at, seen_at + interval '1 day')"),
    "tokens": Record("api_token", "id", "least(ended_at, expires_at)"),
    "invitations": Record(
        "invitation",
        "id",
        "least(used_at, expires_at)",
        unless="EXISTS (SELECT FROM mail WHERE mail.invitation_id = invitation.id)",
    ),
    "sign_ins": Record("sign_in_attempt", "id", "at"),
    "ticket_titles": Record(
        "ticket",
        "id",
        "ended_at",
        unless=f"{_OPEN_GRANT} OR {_LIVE_COPY}",
        blank={"title": "''", "url": "NULL"},
    ),
    "ticket_comments": Record("ticket_comment", "id", "sent_at"),
    "alarms": Record("alarm", "what, id, since, level_s", "at"),
}
