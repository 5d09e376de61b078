"""`POST /hooks/logout/<service>`: a sign-in service says that somebody left.

OpenID Connect Back-Channel Logout 1.0, sections 2.5 to 2.8. No cookie is read; the token proves who
sends. Whatever is wrong with it is one answer.
"""

from __future__ import annotations

from flask import Blueprint, Flask, Response, jsonify, request

from broker.api.operations import the_broker
from broker.oidc import logging_out
from broker.oidc.tokens import TokenRefused


def register_back_channel(app: Flask) -> Blueprint:
    blueprint = Blueprint("back_channel", __name__)
    blueprint.add_url_rule("/hooks/logout/<id:provider_id>", "log_out", log_out, methods=["POST"])
    app.register_blueprint(blueprint)
    return blueprint


def log_out(provider_id: str) -> Response:
    broker = the_broker()
    token = request.form.get("logout_token", "")
    try:
        logging_out.log_out(broker.database, broker.queue, provider_id, token)
    except TokenRefused:
        answer = jsonify(error="invalid_request")
        answer.status_code = 400
        return answer
    return Response(status=200)
