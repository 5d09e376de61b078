"""What a person takes along is in a form that programs read: JSON, with its schema beside it."""

from __future__ import annotations

import io
import json
import zipfile

import pytest

from tests.promises.conftest import Product

pytestmark = pytest.mark.long


def test_the_export_is_what_its_schema_says(product: Product) -> None:
    answer = product.api.get(product.world.engineer, "/me/export")
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        document, schema = (json.loads(archive.read(f"{n}.json")) for n in ("export", "schema"))
    assert set(document) == set(schema["properties"]) >= set(schema["required"])
    for part in document["parts"]:
        shape = schema["properties"]["parts"]["items"]
        assert set(shape["required"]) <= set(part)
        assert part["at_erasure"] in shape["properties"]["at_erasure"]["enum"]
        for row in part["rows"]:
            assert set(shape["properties"]["rows"]["items"]["required"]) == set(row)
