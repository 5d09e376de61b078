"""What an operator registers on the pages: a platform, a storage, a test server."""

from __future__ import annotations

import base64
import re

from broker import platforms, tenants
from broker.secret import Secret
from tests.grants.platforms import granted
from tests.web.browser import Browser
from tests.world import SYSTEM, World

LIST = "/databases"


def test_a_platform_is_registered_its_secret_is_shown_once_and_it_ends_what_rests_on_it(
    operator: Browser, engineer: Browser, admin: Browser, world: World
) -> None:
    sent = {"name": "CRM", "tenant": world.tenant}
    refused = operator.submit(
        f"{LIST}?register=platform", "/platforms", **sent, audience="http://crm.example"
    )
    assert refused.status_code == 422
    assert "without a query" in refused.text
    assert 'action="/platforms"' in refused.text
    made = operator.submit(
        f"{LIST}?register=platform", "/platforms", **sent, audience="https://crm.example/pages"
    )
    secret, path = _secret_and_path(made.text)
    with world.as_(SYSTEM) as tx:
        found = platforms.find_authenticated(tx, path.removeprefix("/platforms/"), Secret(secret))
        assert found is not None

    for reader in (operator, engineer, admin):
        assert "https://crm.example/pages" in reader.page(path)
        assert secret not in reader.page(path)
    for reader in (engineer, admin):
        assert "Register a platform" not in reader.page(LIST)
        assert "Remove it now" not in reader.page(path)
        answer = reader.act(f"{path}/remove")
        assert answer.status_code == 403, answer.text
    other, _ = _secret_and_path(operator.submit(path, f"{path}/secret").text)
    assert other != secret

    grant_id = granted(world, path.removeprefix("/platforms/"))
    assert operator.submit(path, f"{path}/remove").status_code == 303
    assert world.grant(grant_id).state == "ended"
    assert operator.get(path).status_code == 404
    assert "No platform is registered" in operator.page(LIST)


def _secret_and_path(page: str) -> tuple[str, str]:
    secret = re.search(r"brp_[\w-]+", page)
    path = re.search(r"/platforms/plt_\w+", page)
    assert secret is not None
    assert path is not None
    return secret[0], path[0]


def test_a_storage_is_registered_and_taken_out_of_use(operator: Browser, world: World) -> None:
    sent = {"name": "Imports", "tenant": world.tenant, "bucket": "objects"}
    refused = operator.submit(f"{LIST}?register=storage", "/storages", **sent, prefix="no-slash")
    assert refused.status_code == 422
    assert "each ending in" in refused.text
    path = operator.submit(f"{LIST}?register=storage", "/storages", **sent, prefix="acme/").headers[
        "Location"
    ]
    assert "<code>acme/</code>" in operator.page(path)
    assert operator.submit(path, f"{path}/remove").status_code == 303
    assert operator.get(path).status_code == 404


def test_a_test_server_is_registered_with_a_password_that_only_a_worker_can_open(
    operator: Browser, engineer: Browser, admin: Browser, world: World
) -> None:
    """ADR 0002: the page takes what is sealed, and no customer learns of the server (G12)."""
    sent = {"name": "second", "host": "test.example", "port": "5433", "login": "sab_broker"}
    bad = sent | {"host": " ", "port": "65536"}
    refused = operator.submit(
        f"{LIST}?register=server", "/servers", **bad, sealed_password="a word of the DBA"
    )
    assert refused.status_code == 422
    for told in ("1 to 255 characters", "a number from 1 to 65535", "seal` prints, whole"):
        assert told in refused.text
    assert "a word of the DBA" not in refused.text
    sealed = base64.b64encode(b"sealed elsewhere").decode()
    path = operator.submit(
        f"{LIST}?register=server", "/servers", **sent, sealed_password=sealed
    ).headers["Location"]
    page = operator.page(path)
    assert "test.example:5433" in page
    assert "/preflight/srv_" in page
    assert "test.example:5433" in engineer.page(path)
    assert admin.get(path).status_code == 404
    assert "Test servers" not in admin.page(LIST)

    assert operator.submit(path, f"{path}/password", sealed_password=sealed).status_code == 303
    with world.as_(world.operator) as tx:
        row = tenants.get_server(tx, path.removeprefix("/servers/"))
        assert (row.sealed_password, row.next_sealed_password) == (b"sealed elsewhere",) * 2
    assert operator.submit(path, f"{path}/rotate").status_code == 303
    assert engineer.act(f"{path}/rotate").status_code == 403
