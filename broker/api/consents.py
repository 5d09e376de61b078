"""Purposes, the ledger of consents, and why an act was allowed."""

from __future__ import annotations

from marshmallow import fields, validate

from broker import lifecycle
from broker.api.operations import new_blueprint, operation, the_broker
from broker.api.shapes import Answer, Sent, list_of, text, whole
from broker.consents import ledger, queries, why
from broker.consents.purposes import LANGUAGES, Purpose, list_purposes
from broker.consents.queries import ConsentView
from broker.db import Json
from broker.ids import TenantId
from broker.tx import Tx

blueprint = new_blueprint("consents", "Purposes and consents")


class PurposeText(Answer):
    language = fields.String()
    name = fields.String()
    text = fields.String()
    digest = fields.String(metadata={"description": "send it as `shown_digest` to agree to it"})


class PurposeAnswer(Answer):
    name = fields.String()
    version = fields.Integer()
    counts_from = fields.Integer(
        metadata={"description": "consents to older versions count no more"}
    )
    basis = fields.String()
    given_by = fields.String(metadata={"description": "`tenant`, `person` or `nobody`"})
    max_days = fields.Integer()
    unlocks = fields.List(fields.String())
    ends = fields.List(fields.String(), metadata={"description": "what a withdrawal ends"})
    about = fields.List(fields.String())
    texts = fields.Method("list_texts")

    def list_texts(self, purpose: Purpose) -> list[Json]:
        texts = [
            {
                "language": language,
                "name": purpose.texts[language].name,
                "text": purpose.texts[language].text,
                "digest": purpose.digest(language),
            }
            for language in LANGUAGES
        ]
        dumped: list[Json] = PurposeText(many=True).dump(texts)
        return dumped


class ConsentAnswer(Answer):
    purpose = fields.String(attribute="name")
    about = fields.String()
    own = fields.Boolean(metadata={"description": "yours alone; else the organisation's"})
    state = fields.String(metadata={"description": "`missing`, `live`, `withdrawn` or `lapsed`"})
    since = fields.AwareDateTime(allow_none=True)
    by_name = fields.String(attribute="by", allow_none=True)
    version = fields.Integer(allow_none=True)
    lapses_at = fields.AwareDateTime(allow_none=True)
    digests = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        metadata={"description": "by language, of the text that stands now"},
    )
    recipient = fields.Dict(
        allow_none=True,
        metadata={"description": "read with the text, where `about` is a recipient"},
    )
    backup = fields.Dict(
        allow_none=True,
        metadata={"description": "read with the text, where `about` is a backup"},
    )


class ConsentActAnswer(Answer):
    id = fields.String()
    purpose = fields.String()
    about = fields.String()
    act = fields.String(
        metadata={"description": "`given`, `renewed`, `withdrawn` or `lapsed`; never changed"}
    )
    version = fields.Integer()
    language = fields.String(allow_none=True)
    shown = fields.String(
        allow_none=True, metadata={"description": "SHA-256 of what was shown, in that language"}
    )
    lapses_at = fields.AwareDateTime(allow_none=True)
    person = fields.String(attribute="person_id", allow_none=True)
    by = fields.String(attribute="by_id", allow_none=True)
    by_name = fields.String(attribute="by", allow_none=True)
    via = fields.String()
    at = fields.AwareDateTime()


class ReasonAnswer(Answer):
    position = fields.Integer(
        allow_none=True, metadata={"description": "in the log; null until it is integrated"}
    )
    at = fields.AwareDateTime()
    kind = fields.String()
    ground = fields.String(
        metadata={
            "description": "`consent`, `approval` (before the ledger began), `registration`, "
            "`contract`, `ending`, `law`, or `none`: no ground was found"
        }
    )
    says = fields.String()
    consents = fields.List(fields.String(), metadata={"description": "acts of the ledger"})


class _ConsentBody(Sent):
    purpose = text(40)
    about = text(40, least=0, required=False, load_default="")


class GiveBody(_ConsentBody):
    """One purpose: none is ever given together with another."""

    shown_digest = text(64, least=64)


class WithdrawBody(_ConsentBody):
    """As short as giving it."""


class WhyQuery(Sent):
    about = fields.String(
        required=True,
        validate=validate.Regexp(r"\A[a-z]{3}_[a-z2-7]{26}\Z"),
        metadata={"description": "the id of a grant, a login, a copy: what was acted on"},
    )


_CONSENTS = list_of(ConsentAnswer)


@operation(blueprint, "GET /purposes", answer=list_of(PurposeAnswer))
def list_all_purposes(tx: Tx) -> Json:
    """What data may be used for, and on what ground: the newest texts, in each language."""
    return whole(list_purposes(tx))


@operation(blueprint, "GET /tenants/<id:tenant_id>/consents", answer=_CONSENTS)
def list_consents(tx: Tx, tenant_id: TenantId) -> Json:
    """Each consent that the organisation, or you for yourself, can give, and how it stands."""
    return whole(queries.list_consents(tx, tenant_id))


@operation(
    blueprint,
    "POST /tenants/<id:tenant_id>/consents",
    takes=GiveBody,
    answer=ConsentAnswer,
    status=201,
)
def give_consent(tx: Tx, body: Json, tenant_id: TenantId) -> ConsentView:
    """Consent to one purpose as it was shown to you, or renew it before its end."""
    consent = queries.whose(tx, tenant_id, body["purpose"], body["about"])
    ledger.give(tx, consent, body["shown_digest"])
    return queries.get_consent(tx, consent)


@operation(
    blueprint,
    "POST /tenants/<id:tenant_id>/consents/withdraw",
    takes=WithdrawBody,
    answer=ConsentAnswer,
)
def withdraw_consent(tx: Tx, body: Json, tenant_id: TenantId) -> ConsentView:
    """Withdraw it: what rests on it ends at once, what was done before stays lawful."""
    consent = queries.whose(tx, tenant_id, body["purpose"], body["about"])
    lifecycle.withdraw_consent(tx, consent, the_broker().queue)
    return queries.get_consent(tx, consent)


@operation(blueprint, "GET /tenants/<id:tenant_id>/consents/acts", answer=list_of(ConsentActAnswer))
def list_consent_acts(tx: Tx, tenant_id: TenantId) -> Json:
    """The ledger, newest first: what was given, renewed, withdrawn, lapsed; never changed."""
    return whole(queries.list_acts(tx, tenant_id))


@operation(
    blueprint, "GET /tenants/<id:tenant_id>/why", query=WhyQuery, answer=list_of(ReasonAnswer)
)
def explain_acts(tx: Tx, query: Json, tenant_id: TenantId) -> Json:
    """Why each act about one thing was allowed when it happened, oldest first."""
    return whole(why.list_reasons(tx, tenant_id, query["about"]))
