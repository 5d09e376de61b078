"""Asking for access, and using it: through the forms, as an engineer does."""

from __future__ import annotations

import re

from tests.grants.storages import register_storage
from tests.web.browser import Browser
from tests.world import World


def test_an_engineer_asks_from_an_open_ticket(engineer: Browser, world: World) -> None:
    ticket, ended = world.ticket(), world.ticket()
    world.close_ticket(ended)
    listed = engineer.page("/grants/new")
    assert ticket in listed
    assert ended not in listed
    path = f"/grants/new/{ticket}"
    answer = engineer.submit(
        path,
        path,
        database_id=world.database_id,
        category="incident",
        reason="totals are wrong since the import",
        live_s="3600",
        copy_s="86400",
    )
    assert answer.status_code == 303
    made = re.fullmatch(r"/grants/(grt_[a-z2-7]{26})", answer.headers["Location"])
    assert made is not None
    grant = world.grant(made[1])
    assert (grant.asked_live_s, grant.asked_copy_s, grant.category) == (3600, 86400, "incident")
    assert "The plan is being made" in engineer.page(f"/grants/{grant.id}")
    world.work()
    assert "The plan is ready" in engineer.page(f"/fragments/grants/{grant.id}")


def test_a_request_that_can_not_be_made_comes_back_with_what_was_written(
    engineer: Browser, world: World
) -> None:
    path = f"/grants/new/{world.ticket()}"
    answer = engineer.submit(
        path,
        path,
        database_id=world.database_id,
        category="incident",
        reason="too short",
        live_s="0",
        copy_s="0",
    )
    assert answer.status_code == 422
    assert "too short" in answer.text
    assert "No request was made" in answer.text
    assert 'value="incident" selected' in answer.text


def test_a_search_finds_a_ticket_by_number_title_or_customer(
    engineer: Browser, world: World
) -> None:
    ticket = world.ticket(external_id="T-100%_x")
    other = world.ticket()
    for text in ("T-100%25_", "totals+are", "First+tenant"):
        assert ticket in engineer.page(f"/grants/new?q={text}")
    assert other not in engineer.page("/grants/new?q=T-100%25_")
    assert "No open ticket" in engineer.page("/grants/new?q=nothing-like-it")


def test_an_engineer_orders_a_copy_and_follows_it(engineer: Browser, world: World) -> None:
    grant_id = world.approved()
    path = f"/grants/{grant_id}"
    assert f"broker connect {grant_id}" in engineer.page(path)
    answer = engineer.submit(path, f"{path}/copies")
    assert answer.status_code == 303
    copy_path = answer.headers["Location"]
    assert "waiting for its turn" in engineer.page(copy_path)
    world.work()
    assert "is destroyed" in engineer.page("/fragments" + copy_path)
    assert f"{path}/copies" not in engineer.page(path)
    assert engineer.act(f"{path}/copies").status_code == 409


def test_a_request_can_be_withdrawn_by_who_made_it(
    engineer: Browser, world: World, waiting: str
) -> None:
    path = f"/grants/{waiting}"
    assert engineer.submit(path, f"{path}/end").status_code == 303
    assert world.grant(waiting).state == "ended"


def test_an_admin_of_a_tenant_can_not_ask(admin: Browser, world: World) -> None:
    ticket = world.ticket()
    assert admin.get("/grants/new").status_code == 403
    assert admin.get(f"/grants/new/{ticket}").status_code == 403
    assert admin.act(f"/grants/new/{ticket}", reason="x" * 20).status_code == 403


def test_columns_in_clear_are_asked_by_name_shown_with_a_badge_and_can_be_masked(
    engineer: Browser, admin: Browser, world: World
) -> None:
    path = f"/grants/new/{world.ticket()}"
    form = {
        "database_id": world.database_id,
        "category": "incident",
        "reason": "the mail address of one contact is spelt wrong",
        "live_s": "3600",
        "copy_s": "0",
        "kind": "raw",
    }
    refused = engineer.submit(path, path, **form)
    assert refused.status_code == 422
    assert "name columns with the kind raw" in refused.text
    assert 'value="raw" selected' in refused.text
    columns = " crm.contacts.email\r\ncrm.users.password_hash\r\n"
    made = engineer.submit(path, path, **form, raw_columns=columns)
    page = made.headers["Location"]
    world.work()
    shown = admin.page(page)
    assert '<span class="badge text-bg-danger">1 raw</span>' in shown
    assert "Of those kept, <strong>1 raw</strong>" in shown
    assert "through masked views, with 1 column in clear" in shown
    assert "not raw: crm.users.password_hash: never: a credential is never copied" in shown
    answer = admin.submit(page, f"{page}/approve", mask="crm.contacts.email")
    assert answer.status_code == 303
    asked_and_given = admin.page(page).partition("Asked and given")[2]
    assert "named columns in clear</td><td>rows through masks</td>" in asked_and_given


def test_the_structure_alone_says_what_definitions_show(
    engineer: Browser, admin: Browser, world: World
) -> None:
    path = f"/grants/new/{world.ticket()}"
    made = engineer.submit(
        path,
        path,
        database_id=world.database_id,
        category="incident",
        reason="is the index of orders there at all?",
        live_s="3600",
        copy_s="0",
        kind="structure",
    )
    world.work()
    page = admin.page(made.headers["Location"])
    assert "Asked: the structure alone. No row is read." in page
    assert "0 of" in page


def test_sessions_on_objects_are_asked_with_their_time(engineer: Browser, world: World) -> None:
    path = f"/grants/new/{world.ticket()}"
    assert "The customer's objects" not in engineer.page(path)
    storage_id = register_storage(world, "imports/")
    filled = {
        "database_id": world.database_id,
        "category": "incident",
        "reason": "the import of yesterday lacks three files",
        "live_s": "0",
        "copy_s": "0",
        "storage": storage_id,
    }
    without = engineer.submit(path, path, **filled)
    assert without.status_code == 422
    assert f'value="{storage_id}" selected' in without.text
    asked = engineer.submit(path, path, **filled, storage_s="3600")
    grant = world.grant(asked.headers["Location"].removeprefix("/grants/"))
    assert (grant.storage_id, grant.asked_storage_s) == (storage_id, 3600)
