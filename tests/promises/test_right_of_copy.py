"""A person gets a copy of all that is held of them, when they want it and with nobody's leave."""

from __future__ import annotations

import io
import json
import zipfile

import pytest

from tests.promises.conftest import Product

pytestmark = pytest.mark.long


def test_the_copy_comes_at_once_and_names_what_was_done(product: Product) -> None:
    world = product.world
    grant_id = product.approved(copy_s=0)
    answer = product.api.get(world.admin, "/me/export")
    assert (answer.status_code, answer.mimetype) == (200, "application/zip")
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        document = json.loads(archive.read("export.json"))
        page = archive.read("export.html").decode()
    tables = {part["table"]: part for part in document["parts"]}
    assert any(one["row"]["grant_id"] == grant_id for one in tables["decision"]["rows"])
    assert {"person", "membership", "mail", "consent_act"} <= set(tables)
    assert "Ada Admin" in page
