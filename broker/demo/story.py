"""The story that `make demo` tells, step by step, through the HTTP API and the command line.

A step that does not hold raises; nothing here is printed that was not seen.
"""

from __future__ import annotations

import secrets
import subprocess
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from psycopg import sql

from broker.audit.bundle import parse_bundle
from broker.demo.canaries import KEPT_BY_ENGINEER
from broker.demo.people import Unexpected, Who
from broker.demo.processes import ChildFailed, wait_until
from broker.demo.world import CRM, HOST, DemoWorld, as_superuser

LEFT_OUT = "crm.tickets"
REASON = "Customer reports wrong totals on three orders since Monday; we must see their lines."
_WAIT_S = 60


@dataclass
class Story:
    """What the steps learn of each other, and the figures that the summary shows."""

    world: DemoWorld
    say: Callable[[str], None]
    operator: Who
    engineer: Who
    admin: Who
    neighbour: Who
    tenant: str = ""
    other_tenant: str = ""
    database: str = ""
    ticket: str = ""
    external_id: str = ""
    grant: str = ""
    digest: str = ""
    snapshot: str = ""
    sessions: list[subprocess.Popen[str]] = field(default_factory=list)
    closed_at: float = 0.0
    figures: dict[str, float | int | str] = field(default_factory=dict)


def new_story(world: DemoWorld, say: Callable[[str], None]) -> Story:
    def who(name: str, email: str) -> Who:
        home = world.folder / "homes" / email.partition("@")[0]
        home.mkdir(parents=True, mode=0o700)
        return Who(name, email, home, world.url)

    return Story(
        world,
        say,
        operator=who("Olga Operator", "olga@vendor.example"),
        engineer=who("Emil Engineer", "emil@vendor.example"),
        admin=who("Ada Admin", "ada@first-tenant.example"),
        neighbour=who("Nils Neighbour", "nils@second-tenant.example"),
    )


# 2. A ticket opens.


def open_ticket(story: Story) -> None:
    story.external_id = f"CASE-{secrets.randbelow(9000) + 1000}"
    _ticket_source(
        story,
        "/tickets",
        {"id": story.external_id, "title": "Order totals are wrong", "customer": "customer-1"},
    )

    def mirrored() -> bool:
        items = story.engineer.call("GET", f"/tickets?external_id={story.external_id}")["items"]
        story.ticket = items[0]["id"] if items else ""
        return bool(items)

    wait_until(mirrored, "the mirroring of the ticket")
    story.say(
        f"{story.external_id} «Order totals are wrong» reached the broker by a signed webhook"
    )


def _ticket_source(story: Story, path: str, body: object = None) -> None:
    httpx.post(
        f"http://{HOST}:{story.world.ticket_port}{path}",
        json=body,
        headers={"Authorization": f"Bearer {story.world.ticket_token.reveal()}"},
        timeout=10,
    ).raise_for_status()


# 3. The engineer asks; before approval every attempt fails.


def ask(story: Story) -> None:
    engineer = story.engineer
    story.grant = engineer.read(
        *("grants", "request", "--ticket", story.ticket, "--database", story.database),
        *("--category", "customer_report", "--reason", REASON, "--live", "4h", "--copy", "2d"),
    )["id"]
    refused = engineer.run("connect", story.grant, "--", "-c", "SELECT 1", expect=4)
    story.say(f"before approval: {_one_line(refused.stderr)}")
    engineer.run("snapshots", "order", story.grant, expect=4)
    plan: dict[str, Any] = {}

    def planned() -> bool:
        view = engineer.call("GET", f"/grants/{story.grant}?wait=5")
        plan.update(view)
        return bool(view.get("asked_digest"))

    wait_until(planned, "the plan")
    shown = engineer.call("GET", f"/grants/{story.grant}/plan")
    if shown.get("literals"):
        raise Unexpected("the engineer was shown literals of the tenant's definitions")
    columns = [c for t in shown["tables"] if t["rows"] for c in t["columns"]]
    kept = sum(c["mask"] == "keep" for c in columns)
    masked = len(columns) - kept
    story.say(f"the plan: {len(columns)} columns in tables with rows, {kept} kept, {masked} masked")


def _one_line(text: str) -> str:
    return " ".join(text.split())[:160]


# 4. The customer's admin reads, narrows, approves.


def decide(story: Story) -> None:
    admin = story.admin
    shown = admin.call("GET", f"/grants/{story.grant}/plan")
    if not shown.get("literals"):
        raise Unexpected("the tenant's admin was not shown the literals of her own definitions")
    for table in shown["tables"]:
        if not table["rows"]:
            note = textwrap.shorten(table["note"], 110, placeholder=" …")
            story.say(f"  {table['schema']}.{table['name']}: {note}")
    story.digest = shown["digest"]
    admin.run(
        *("grants", "approve", story.grant, "--plan", story.digest),
        *("--without", LEFT_OUT, "--live", "2h"),
    )
    given = admin.call("GET", f"/grants/{story.grant}")
    if given["given_live_s"] != 7200 or given["state"] != "approved":
        raise Unexpected("the narrowed approval is not what was given")
    story.neighbour.call("GET", f"/grants/{story.grant}", expect=(404,))
    story.say(f"Ada read {len(shown['tables'])} tables, left {LEFT_OUT} out, 4 h became 2 h")
    story.say("the second tenant's admin asks for the same page: 404, as for none")


# 5. Live access: masked, read only, nothing raw.


def live_access(story: Story) -> None:
    engineer = story.engineer
    rows = engineer.run(
        *("connect", story.grant, "--", "-At", "-c"),
        "SELECT c.email FROM contacts c JOIN orders o ON o.contact_id = c.id LIMIT 1",
    )
    address = rows.stdout.strip().splitlines()[-1]
    if not address.endswith("@example.invalid"):
        raise Unexpected(f"the live view shows {address!r} where a masked address must be")
    for statement in (
        "SELECT * FROM crm.contacts LIMIT 1",
        "UPDATE contacts SET email = 'x'",
        "CREATE TABLE crm.mine (i int)",
    ):
        done = engineer.run(
            "connect", story.grant, "--", "-v", "ON_ERROR_STOP=1", "-c", statement, expect=1
        )
        if "permission denied" not in done.stderr and "cannot update" not in done.stderr:
            raise Unexpected(f"{statement!r} was refused for another reason: {done.stderr[:200]}")
    story.sessions.append(
        engineer.begin("connect", story.grant, "--", "-c", "SELECT pg_sleep(900)")
    )
    story.say(f"masked live view: {address}; raw tables, writes and DDL: permission denied")


# 6. The copy.


def copy(story: Story) -> None:
    engineer = story.engineer
    began = time.monotonic()
    ordered = engineer.read("snapshots", "order", story.grant)
    story.snapshot = ordered["id"]

    def ready() -> bool:
        story.world.check_alive()
        view = engineer.call("GET", f"/snapshots/{story.snapshot}?wait=1")
        if view["stuck_reason"]:
            raise Unexpected(f"the copy failed: {view['stuck_reason']}")
        progress = view["progress"]
        if progress:
            story.say(
                f"  {progress['step']}: {progress['tables_done']} of {progress['tables']} tables, "
                f"{progress['bytes'] / 1e6:.1f} MB"
            )
        return bool(view["state"] == "ready")

    wait_until(ready, "the copy", _WAIT_S)
    story.figures["copy_s"] = round(time.monotonic() - began, 1)
    report = engineer.call("GET", f"/snapshots/{story.snapshot}")["report"]
    story.figures["rows_copied"] = sum(report["rows"].values())
    _use_sandbox(story)


def _use_sandbox(story: Story) -> None:
    """A real query with joins; the same joins counted by the DBA on the live server must agree."""
    query = (
        "SELECT count(*), count(DISTINCT c.id), sum(l.quantity) FROM crm.contacts c "
        "JOIN crm.orders o ON o.contact_id = c.id JOIN crm.companies f ON f.id = o.company_id "
        "JOIN crm.order_lines l ON l.order_id = o.id AND l.ordered_at = o.ordered_at"
    )
    done = story.engineer.run("connect", story.snapshot, "--", "-At", "-c", query)
    there = done.stdout.strip().splitlines()[-1]
    with as_superuser(story.world.live, CRM) as connection:
        row = connection.execute(query).fetchone()
    here = "|".join(str(value) for value in row or ())
    if here != there:
        raise Unexpected(f"the joins differ: {there} in the copy, {here} at the source")
    mark = story.world.marks.kept[KEPT_BY_ENGINEER]
    insert = f"UPDATE crm.companies SET name = '{mark}' WHERE id = 1"  # noqa: S608  # our mark
    story.engineer.run("connect", story.snapshot, "--", "-v", "ON_ERROR_STOP=1", "-c", insert)
    story.sessions.append(
        story.engineer.begin("connect", story.snapshot, "--", "-c", "SELECT pg_sleep(900)")
    )
    story.say(
        f"sandbox: {story.figures['rows_copied']:,} rows; joins agree with the source ({there})"
    )


# 7. The ticket closes; nobody does anything.


def close_ticket(story: Story) -> None:
    _wait_for_sessions(story)
    story.closed_at = time.monotonic()
    _ticket_source(story, f"/tickets/{story.external_id}/close")

    seen: list[str] = []

    def over() -> bool:
        story.world.check_alive()
        view = story.admin.call("GET", f"/snapshots/{story.snapshot}?wait=1")
        leases = story.admin.call("GET", f"/leases?tenant={story.tenant}")["items"]
        seen[:] = [f"{i['id']} {i['state']}: {i['stuck_reason']}" for i in [view, *leases]]
        done = view["state"] == "destroyed" and all(item["state"] == "revoked" for item in leases)
        return bool(done and view["certificate"])

    try:
        wait_until(over, "the end of everything", _WAIT_S)
    except ChildFailed as late:
        raise Unexpected(f"{late.message}: {'; '.join(seen)}") from None
    story.figures["close_to_destroyed_s"] = round(time.monotonic() - story.closed_at, 1)
    for session in story.sessions:
        session.wait(20)
        if session.returncode == 0:
            raise Unexpected("an open session ended as if nothing had happened")
    wait_until(lambda: _certificate_mail(story) is not None, "the mail with the certificate")
    _check_nothing_left(story)
    story.say(
        f"{story.figures['close_to_destroyed_s']} s after the ticket closed: logins revoked, "
        f"{len(story.sessions)} open sessions dead, key erased, sandbox and objects gone, certified"
    )


def _wait_for_sessions(story: Story) -> None:
    def open_both() -> bool:
        query = "SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 'sab\\_l\\_%'"
        counts = 0
        for server in (story.world.live, story.world.test):
            with as_superuser(server) as connection:
                row = connection.execute(query.encode()).fetchone()
                counts += int(row[0]) if row else 0
        return counts >= len(story.sessions)

    wait_until(open_both, "the engineer's open sessions")


def _certificate_mail(story: Story) -> bytes | None:
    for message in story.world.mails.messages():
        if story.admin.email in str(message["To"]):
            for part in message.iter_attachments():
                content = part.get_content()
                return content if isinstance(content, bytes) else str(content).encode()
    return None


def _check_nothing_left(story: Story) -> None:
    """The DBA's own look: what the certificate says, seen from outside the broker."""
    letters = story.snapshot.removeprefix("snp_")
    with as_superuser(story.world.test) as connection:
        query = sql.SQL(
            "SELECT datname::text FROM pg_database WHERE datname LIKE {p} UNION ALL "
            "SELECT rolname::text FROM pg_roles WHERE rolname LIKE {p}"
        ).format(p=sql.Literal(f"%{letters}%"))
        left = connection.execute(query).fetchall()
    objects = list((story.world.folder / "store" / "snapshots").rglob("*"))
    with as_superuser(story.world.live, CRM) as connection:
        roles = connection.execute(
            "SELECT rolname FROM pg_roles WHERE rolname ~ '^sab_[ls]_'"
        ).fetchall()
    if left or objects or roles:
        raise Unexpected(f"something is left: {left} {objects} {roles}")


# 8. Verifying, and seeing that tampering shows. (The scan of the disk is in `leftovers`.)


def verify(story: Story) -> None:
    admin, folder = story.admin, story.world.folder
    certificate, bundle = folder / "certificate.dsse.json", folder / "log.bundle.json"
    certificate.write_bytes(_certificate_mail(story) or b"")

    def covered() -> bool:
        bundle.unlink(missing_ok=True)
        admin.run("log", "export", story.tenant, "-f", str(bundle))
        return _holds(admin, "log", bundle) and b"certificate.issued" in _entries(bundle)

    wait_until(covered, "the log's checkpoint over the certificate")
    admin.run("certificates", "verify", str(certificate))
    for kind, path in (("certificates", certificate), ("log", bundle)):
        spoilt = path.with_suffix(".tampered")
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        spoilt.write_bytes(content)
        admin.run(kind, "verify", str(spoilt), expect=9)
    story.figures["log_entries"] = len(parse_bundle(bundle.read_bytes()).entries)
    story.say("certificate and log verify offline; one changed byte in either is found (exit 9)")


def _holds(admin: Who, kind: str, path: Path) -> bool:
    try:
        admin.run(kind, "verify", str(path))
    except Unexpected:
        return False
    return True


def _entries(bundle: Path) -> bytes:
    entries = parse_bundle(bundle.read_bytes()).entries
    return b"\n".join(entry for entry in entries if isinstance(entry, bytes))
