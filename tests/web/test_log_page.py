"""What is found in the log by kind and time, on a page that needs no JavaScript, and as files."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa

from broker.audit.integrate import integrate_all
from broker.audit.proof_text import verify_proof
from broker.tx import system
from tests.stories import pinned
from tests.web.browser import Browser
from tests.world import REASON, World


def check_one_line(world: World, admin: Browser, grant_id: str) -> None:
    """Its personal values while they can be opened, and its proof, which verifies alone."""
    path = "/log/events?kind=grant.requested"
    found = admin.page(path)
    assert REASON in found
    (link,) = re.findall(r'"(/log/proof[^"]+)"', found)
    text = admin.get(link.replace("&amp;", "&")).text
    assert verify_proof(text, pinned(world))[1].subject == grant_id
    with world.as_(system("tests")) as tx:
        tx.session.execute(sa.text("DELETE FROM audit_opening"))
    found = admin.page(path)
    assert REASON not in found
    assert "erased" in found


@pytest.mark.long
def test_entries_are_found_by_a_form_and_kept_as_files(world: World, admin: Browser) -> None:
    grant_id = world.approved()
    integrate_all(world.broker.database, world.ports.keys)
    assert 'name="ticket"' in admin.page("/log")
    found = admin.page("/log/events?kind=grant.approved")
    assert grant_id in found
    assert "database.registered" not in found
    assert "Nothing in the signed log" in admin.page("/log/events?until=2020-01-01")
    assert 'value="grant.approved"' in found  # the form says what was asked
    check_one_line(world, admin, grant_id)
    lines = admin.get("/log/events/file?kind=grant.approved&format=csv")
    assert lines.mimetype == "text/csv"
    assert lines.text.count(grant_id) == 1
    for wrong in ("kind=Grant!", "person=x", "since=yesterday", "format=pdf"):
        path = "/log/events/file?" if wrong.startswith("format") else "/log/events?"
        assert admin.get(path + wrong).status_code == 422, wrong
