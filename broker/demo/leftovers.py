"""The demo's scan of what is left on disk after the destruction.

Two kinds of mark. Canaries stand in columns that are masked: they must be in nothing that left the
tenant's server. Kept marks (a column approved as kept, a row that the engineer wrote) may live in
the sandbox while it lives; after its end they are searched everywhere, and what remains on the test
server (freed blocks, write-ahead log) is printed as residue, as the certificate says.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from broker.demo.canaries import KEPT_IN_COLUMN, needles
from broker.demo.people import Unexpected
from broker.demo.scan import Report, must_find, must_find_nothing, scan
from broker.demo.story import Story
from broker.demo.world import as_superuser
from broker.engines import Target
from broker.engines.postgres.connect import find_tool, tool_connection


def look_while_alive(story: Story) -> None:
    """The second kind's positive control: kept marks are in the sandbox's files while it lives."""
    with as_superuser(story.world.test) as connection:
        connection.execute("CHECKPOINT")
    marks = needles({KEPT_IN_COLUMN: story.world.marks.kept[KEPT_IN_COLUMN]})
    report = scan({"test server": story.world.test.data / "base"}, marks)
    must_find(report, "test server", [KEPT_IN_COLUMN])
    story.say("the mark of the column that Ada approved as kept is found there, as it must be")


def scan_all(story: Story) -> None:
    world = story.world
    for server in (world.live, world.test, world.control):
        with as_superuser(server) as connection:
            connection.execute("CHECKPOINT")
    dump = _dump_control(story)
    canaries = needles(world.marks.canaries)
    source = scan({"tenant server": world.live.data / "base"}, canaries)
    must_find(source, "tenant server", world.marks.canaries)
    roots = {
        "store": world.folder / "store",
        "control database": world.control.data,
        "control database dump": dump.parent,
        "logs": world.logs,
        "server logs": _gather_server_logs(story),
        "mails": world.mails.folder,
        "settings and homes": world.folder / "homes",
    }
    must_find_nothing(scan({**roots, "test server": world.test.data}, canaries))
    kept = needles(world.marks.kept)
    must_find_nothing(scan(roots, kept))
    residue = scan({"test server": world.test.data}, kept)
    _say_residue(story, residue)
    story.figures["bytes_scanned"] = sum((source.bytes_read + residue.bytes_read).values())
    story.say(
        f"{len(world.marks.canaries)} kinds of canary: found in the tenant's own files, in nothing "
        "that left its server"
    )


def _dump_control(story: Story) -> Path:
    """All of the control database, jobs and mails too, as plain text."""
    folder = story.world.folder / "scan"
    folder.mkdir(exist_ok=True)
    server = story.world.control
    target = Target(server.host, server.port, "broker", "postgres", server.password)
    path = folder / "control.sql"
    with tool_connection(target) as connection:
        subprocess.run(
            [find_tool("pg_dump"), "--file", str(path), f"--dbname={connection.dsn}"],
            env=dict(connection.env),
            pass_fds=connection.pass_fds,
            check=True,
        )
    if "access_grant" not in path.read_text():
        raise Unexpected("the dump of the control database is not one")
    return path


def _gather_server_logs(story: Story) -> Path:
    folder = story.world.folder / "server-logs"
    folder.mkdir(exist_ok=True)
    for server in (story.world.control, story.world.live, story.world.test):
        (folder / f"{server.folder.name}.log").write_bytes(server.log.read_bytes())
    return folder


def _say_residue(story: Story, residue: Report) -> None:
    """Printed as found, and compared with what the certificate admits."""
    places = sorted({Path(hit.file).parts[0] for hit in residue.hits})
    story.figures["residue_places"] = len(places)
    if not places:
        story.say("kept marks: nothing left of them on the test server either")
        return
    if places != ["pg_wal"]:
        raise Unexpected(f"kept marks are in {places}, which the certificate does not admit")
    story.say(
        f"residue, as the certificate states: kept marks in the test server's {', '.join(places)}"
    )
