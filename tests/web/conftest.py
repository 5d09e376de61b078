"""The console on a world."""

from __future__ import annotations

import pytest
from flask import Flask

from broker.http import create_app
from tests.web.browser import Browser, sign_in
from tests.world import World


@pytest.fixture
def app(world: World) -> Flask:
    return create_app(world.broker)


@pytest.fixture
def admin(app: Flask, world: World) -> Browser:
    return sign_in(app, world, world.admin)


@pytest.fixture
def engineer(app: Flask, world: World) -> Browser:
    return sign_in(app, world, world.engineer)


@pytest.fixture
def operator(app: Flask, world: World) -> Browser:
    return sign_in(app, world, world.operator)
