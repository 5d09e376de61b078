"""`broker rights`: one's own data and asks, and the privacy officer's work."""

from __future__ import annotations

import zipfile

from broker.tx import system
from tests.cli.conftest import Desk
from tests.world import add_person


def test_a_person_and_an_officer_go_through_a_case(desk: Desk) -> None:
    world, file = desk.world, desk.folder / "mine.zip"
    admin = desk.terminal("admin", world.admin)
    with world.as_(system("tests")) as tx:
        person = add_person(tx, "privacy_officer", None)
    officer = desk.terminal("officer", person)
    desk.folder.mkdir(exist_ok=True)
    admin.run("rights", "export", "-f", str(file))
    assert zipfile.ZipFile(file).namelist() == ["export.json", "schema.json", "export.html"]
    case = admin.json("rights", "ask", "restriction", "--said", "while you look")["id"]
    assert admin.json("rights", "object-to-marketing")["outcome"] == "done"
    assert [one["id"] for one in officer.json("rights", "list", "--open")] == [case]
    who = world.admin.person_id or ""
    officer.run("rights", "restrict", who)
    officer.run("rights", "extend", case, "--why", "three systems have to be looked through")
    officer.run("rights", "answer", case, "--outcome", "done", "--answer", "it is restricted")
    officer.run("rights", "restrict", who, "--lift")
    assert [one["outcome"] for one in admin.json("rights", "mine")] == ["done", "done"]
    officer.run("rights", "take-in", who, "access", "--proof", "called back by telephone")
    assert admin.try_("rights", "list").exit_code == 4
    assert officer.try_("rights", "erasure", who).exit_code == 5
    world_engineer = world.engineer.person_id or ""
    desk.terminal("operator", world.operator).run("people", "disable", world_engineer)
    officer.run("people", "erase", world_engineer, "--yes")
    kept = officer.json("rights", "erasure", world_engineer)["kept"]
    assert ("person", world_engineer) in {(row["table"], row["key"]) for row in kept}
    assert all(row["why"] for row in kept)
