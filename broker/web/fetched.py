"""What the console's script fetches in the middle of a form: options for a passkey, as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from flask import jsonify
from flask.typing import ResponseReturnValue

from broker.api.problems import NOT_FOUND, find_status
from broker.errors import BrokerError, NotFound
from broker.tx import Tx
from broker.web.languages import say_error
from broker.web.session import begin

Options: TypeAlias = Mapping[str, Any]


def options(ask: Callable[[Tx], Options]) -> ResponseReturnValue:
    """What `ask` gives in the view's transaction, or what is wrong, in words for the page."""
    try:
        with begin() as tx:
            return jsonify(ask(tx))
    except BrokerError as error:
        message = NOT_FOUND if isinstance(error, NotFound) else error.message
        return jsonify(error=say_error(message)), find_status(error)
