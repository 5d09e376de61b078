"""Applications, made once for each set of settings and lent from test to test.

To describe a hundred operations and to compile the templates costs more than most tests do; what an
application keeps of a world is its broker alone, which `lend` puts in its place.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask

from broker.bootstrap import Broker
from broker.http import create_app

_idle: defaultdict[str, list[Flask]] = defaultdict(list)


@contextmanager
def lend(broker: Broker, *, tickets: str = "") -> Iterator[Flask]:
    """An application on `broker`, nobody else's meanwhile; `tickets` names its ticket settings."""
    idle = _idle[tickets]
    app = idle.pop() if idle else create_app(broker)
    app.extensions["broker"] = broker
    try:
        yield app
    finally:
        idle.append(app)
