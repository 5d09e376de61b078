"""`broker policy set`: reminders and an escalation, and what of it is refused."""

from __future__ import annotations

from tests.cli.conftest import Desk


def test_reminders_and_an_escalation_are_set_and_taken_back(desk: Desk) -> None:
    world = desk.world
    admin = desk.terminal("admin", world.admin)
    person = world.admin.person_id or ""
    set_ = ("policy", "set", world.tenant)
    shown = admin.json(*set_, "--remind", "50", "--remind", "90", "--escalate-after", "2h")
    policy = shown["policy"]
    assert policy["reminders"] == [50, 90]
    assert (policy["escalate_after_s"], policy["escalate_to"]) == (7200, [])
    named = admin.json(*set_, "--no-reminders", "--escalate-after", "1h", "--escalate-to", person)
    policy = named["policy"]
    assert (policy["reminders"], policy["escalate_to"]) == ([], [person])
    for wrong in (
        ("--remind", "100"),
        ("--escalate-to", person),  # told when?
        ("--escalate-after", "1h", "--escalate-to", world.engineer.person_id or ""),
    ):
        assert admin.try_(*set_, *wrong).exit_code != 0, wrong
