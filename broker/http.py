"""The HTTP application: the REST API, the console and the ticket systems' webhooks.

What must stay true: every answer carries the same strict headers; cookies can't be weakened by a
setting; every form is checked against forgery unless it is the API's, which reads no cookie; and an
error tells a person what happened, and nobody anything else.
"""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from flask import Flask, Response, current_app, request
from flask.typing import ResponseReturnValue
from flask_wtf import CSRFProtect
from secure import (
    ContentSecurityPolicy,
    CrossOriginOpenerPolicy,
    CrossOriginResourcePolicy,
    PermissionsPolicy,
    ReferrerPolicy,
    Secure,
    StrictTransportSecurity,
    XContentTypeOptions,
    XFrameOptions,
)
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

from broker import api, bootstrap
from broker.api import back_channel, hooks, oauth, scim
from broker.api.problems import find_status, from_http, problem
from broker.authenticators import SEED_BOX, SeedBox
from broker.bootstrap import Broker
from broker.errors import BrokerError, SettingsError, Unavailable
from broker.logs import get_log, setup_logs
from broker.settings import Web, load_settings
from broker.tx import system

_log = get_log(__name__)
_MAX_BYTES = 1 << 20
# For machines: never a page.
_PLAIN_PATHS = ("/api/", "/hooks/", "/oauth/", "/.well-known/", "/scim/", "/healthz")

# The console puts its page of an error here; it is called with the error and its status.
ERROR_PAGE = "broker.error_page"
ErrorPage = Callable[[BrokerError, int], ResponseReturnValue]


class Defect(BrokerError):
    """Something that should not happen; the log says more, the answer does not."""

    type = "defect"


class _Application(Flask):
    def log_exception(self, exc_info: Any) -> None:
        """Flask's last resort, e.g. when the page of an error fails itself."""
        _log_defect(exc_info[1])


def create_app(broker: Broker) -> Flask:
    """Raises SettingsError when a setting that the web needs is missing."""
    from broker import web as console  # late: its pages import the name of the error page from here

    web = broker.settings.web
    app = _Application("broker", static_folder=None)  # the console serves its own
    _configure(app, web)
    csrf = CSRFProtect(app)
    hooked, oauthed = hooks.register_hooks(app, broker), oauth.register_oauth(app, broker)
    apis = api.register_api(app, broker)
    for blueprint in (
        *apis,
        hooked,
        oauthed,
        back_channel.register_back_channel(app),
        scim.register_scim(app),
    ):
        csrf.exempt(blueprint)
    console.register_console(app, broker)
    app.add_url_rule("/healthz", "healthz", _healthz)
    app.after_request(_Headers().put)
    _register_errors(app)
    if web.proxies:
        count = web.proxies
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]  # as Flask's documentation has it
            app.wsgi_app, x_for=count, x_proto=count, x_host=count
        )
    return app


def wsgi() -> Flask:
    """For gunicorn: `broker.http:wsgi()`."""
    setup_logs()
    app = create_app(bootstrap.build(load_settings()))
    gc.freeze()  # what stands for good is not looked through again at every collection
    return app


def _configure(app: Flask, web: Web) -> None:
    if web.secret_key is None:
        raise SettingsError("the setting web.secret_key is missing; set BROKER_WEB__SECRET_KEY")
    app.extensions[SEED_BOX] = SeedBox(web.secret_key)
    app.config.update(
        SECRET_KEY=web.secret_key.reveal(),
        TRUSTED_HOSTS=list(web.trusted_hosts),
        MAX_CONTENT_LENGTH=_MAX_BYTES,
        # `__Host-` binds the cookie to this very host; browsers treat http://localhost as secure.
        SESSION_COOKIE_NAME="__Host-flask",
        SESSION_COOKIE_SECURE=True,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_PATH="/",
    )


class _Headers:
    """Security headers, the same on every answer."""

    def __init__(self) -> None:
        # Bootstrap's style sheet draws its small signs from data: images.
        policy = (
            ContentSecurityPolicy()
            .default_src("'none'")
            .object_src("'none'")
            .script_src("'self'")
            .style_src("'self'")
            .img_src("'self'", "data:")
            .font_src("'self'")
            .connect_src("'self'")
            .form_action("'self'")
            .base_uri("'none'")
            .frame_ancestors("'none'")
        )
        self._secure = Secure(
            csp=policy,
            hsts=StrictTransportSecurity().max_age(31_536_000).include_subdomains(),
            # Not `no-referrer`: the check of forms over TLS needs to see our own address.
            referrer=ReferrerPolicy().same_origin(),
            permissions=PermissionsPolicy().camera().microphone().geolocation(),
            coop=CrossOriginOpenerPolicy().same_origin(),
            corp=CrossOriginResourcePolicy().same_origin(),
            xcto=XContentTypeOptions(),
            xfo=XFrameOptions().deny(),
        )

    def put(self, answer: Response) -> Response:
        self._secure.set_headers(answer)
        if not (request.endpoint or "").endswith("static") or answer.status_code >= 400:
            answer.headers["Cache-Control"] = "no-store"
        return answer


def _healthz() -> ResponseReturnValue:
    """`ok` when the control database answers; it says nothing else, and asks for no sign-in."""
    broker: Broker = current_app.extensions["broker"]
    broker.database.now(system("web"))
    return Response("ok", mimetype="text/plain")


def _register_errors(app: Flask) -> None:
    app.register_error_handler(BrokerError, _answer)
    app.register_error_handler(HTTPException, lambda error: _answer(*from_http(error)))
    for kind in (sa.exc.OperationalError, sa.exc.TimeoutError):
        app.register_error_handler(kind, _unavailable)
    app.register_error_handler(Exception, _defect)


def _unavailable(error: Exception) -> ResponseReturnValue:
    _log.error("control_database_unavailable", error=type(error).__name__)
    return _answer(Unavailable("the control database does not answer; nothing was changed"))


def _defect(error: Exception) -> ResponseReturnValue:
    _log_defect(error)
    return _answer(Defect("something went wrong here; it was logged, and nothing was changed"), 500)


def _log_defect(error: BaseException) -> None:
    """The kind and the place, without the error's own text: it may quote values (G11)."""
    frames = traceback.extract_tb(error.__traceback__)
    _log.error(
        "request_failed",
        endpoint=request.endpoint,
        error=type(error).__name__,
        at=[f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    )


def _answer(error: BrokerError, status: int | None = None) -> ResponseReturnValue:
    """A problem for machines; for people the console's page, or one line where there is none."""
    code = find_status(error) if status is None else status
    if request.path.startswith(_PLAIN_PATHS):
        broker: Broker = current_app.extensions["broker"]
        return problem(error, code, broker.settings.vendor.host)
    page: ErrorPage | None = current_app.extensions.get(ERROR_PAGE)
    if page is None:
        return Response(error.message, code, mimetype="text/plain")
    return page(error, code)
