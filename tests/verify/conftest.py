"""A vendor's control database and keyring, with the power that a vendor has over both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.db import Database
from broker.keys.keyring import Keyring
from tests.verify.vendor import Vendor
from tests.world import APP_ROLE, ControlTemplate


@pytest.fixture
def vendor(control_template: ControlTemplate, tmp_path: Path) -> Iterator[Vendor]:
    keys = Keyring.create_folder(tmp_path / "keyring")
    with control_template.clone() as dbname:
        database = Database(control_template.dsn(APP_ROLE, dbname))
        try:
            yield Vendor(database, keys, control_template, dbname)
        finally:
            database.engine.dispose()
