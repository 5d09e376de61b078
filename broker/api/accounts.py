"""Signing in, and people with their roles."""

from __future__ import annotations

from dataclasses import replace

from flask import current_app, request
from marshmallow import fields, validate

from broker import (
    enrolling,
    entering,
    erasing,
    lifecycle,
    people,
    readers,
    sessions,
    signin,
    tenants,
)
from broker.api.operations import new_blueprint, operation, signed_in, the_broker
from broker.api.shapes import Answer, Sent, TenantQuery, identity, list_of, text, whole
from broker.api.tokens import NewTokenAnswer, confirm, show_new
from broker.authenticators import SEED_BOX, SeedBox
from broker.consents import contacting
from broker.db import Json
from broker.enrolling import NewMember
from broker.entering import Given
from broker.errors import Invalid, NotAuthenticated, NotFound
from broker.ids import PersonId, TenantId
from broker.languages import LANGUAGES
from broker.letters import DECLINABLE
from broker.people import TENANT_ROLES, VENDOR_ROLES
from broker.readers import Reading
from broker.secret import Secret
from broker.tx import Actor, Tx, system

blueprint = new_blueprint("accounts", "Signing in, tokens, people")
_SIGN_IN_DAYS = 1


class SignInBody(Sent):
    email = text(254)
    password = text(200)
    code = text(
        40,
        required=False,
        metadata={"description": "of the authenticator app, or a recovery code, where one is on"},
    )


class AcceptBody(Sent):
    code = text(200)
    password = text(200, metadata={"description": "12 characters or more"})


class PasswordBody(Sent):
    current = text(200)
    password = text(200, metadata={"description": "12 characters or more"})


class MeAnswer(Answer):
    id = fields.String()
    name = fields.String()
    side = fields.String(metadata={"description": "`vendor` or `tenant`"})
    tenants = fields.List(fields.String(), metadata={"description": "ids; for a tenant's people"})
    permissions = fields.List(fields.String())


class MailsBody(Sent):
    language = fields.String(required=True, validate=validate.OneOf(tuple(LANGUAGES)))
    zone = fields.String(
        required=True,
        allow_none=True,
        validate=validate.Length(1, 64),
        metadata={"description": "a name of the IANA's, read beside UTC; null for UTC alone"},
    )
    declined = fields.List(
        fields.String(validate=validate.OneOf(sorted(DECLINABLE))),
        required=True,
        metadata={"description": "kinds that are not sent; the others are owed"},
    )


class MailsAnswer(Answer):
    language = fields.String(allow_none=True)
    zone = fields.String(allow_none=True)
    declined = fields.List(fields.String())


class PeopleQuery(Sent):
    tenant = identity("tnt", required=False)


class PersonBody(Sent):
    email = text(254)
    name = text(200)
    role = fields.String(required=True, validate=validate.OneOf((*VENDOR_ROLES, *TENANT_ROLES)))
    tenant = identity("tnt", required=False)


class MemberAnswer(Answer):
    id = fields.String(attribute="person_id")
    name = fields.String()
    email = fields.String()
    side = fields.String()
    role = fields.String()
    tenant = fields.String(attribute="tenant_id", allow_none=True)
    disabled = fields.Boolean()
    service = fields.Boolean(metadata={"description": "a program's account"})


class PersonAnswer(Answer):
    id = fields.String()


class ErasureAnswer(Answer):
    id = fields.String(attribute="person_id")
    openings = fields.Integer(
        metadata={"description": "commitments in logs that nothing opens any more"}
    )
    kept = fields.Integer(
        metadata={"description": "rows that are left, each with its ground: GET …/erasure"}
    )


class AccessEndedAnswer(Answer):
    ended = fields.Integer(metadata={"description": "how many grants and requests"})


@operation(
    blueprint, "POST /sign-in", takes=SignInBody, answer=NewTokenAnswer, status=201, public=True
)
def sign_in(body: Json) -> Json:
    """Sign in with a password, for a token of one day.

    Where an authenticator app is on, 401 of type `code-needed` asks for its code beside it.

    End it with `DELETE /tokens/{id}`.
    """
    broker = the_broker()
    code = Secret(str(body["code"])) if body.get("code") else None
    given = Given(Secret(body["password"]), code, request.remote_addr or "")
    box: SeedBox = current_app.extensions[SEED_BOX]
    session, _ = entering.sign_in(broker.database, body["email"], given, box)
    with broker.database.begin(system("sign-in")) as tx:
        found = sessions.find_session(tx, session, broker.settings.times)
        sessions.end_session(tx, session)
    if found is None:
        raise NotAuthenticated("the account was closed meanwhile")
    with broker.database.begin(found.actor) as tx:
        return show_new(tx, *signin.create_token(tx, "sign-in", _SIGN_IN_DAYS))


@operation(blueprint, "POST /invitations/accept", takes=AcceptBody, status=204, public=True)
def accept_invitation(body: Json) -> None:
    """Set the first password with the code from an invitation."""
    with the_broker().database.begin(Actor("system", "invitation")) as tx:
        try:
            signin.accept_invitation(tx, Secret(body["code"]), Secret(body["password"]))
        except NotFound as error:
            raise Invalid(error.message, fields={"code": "used, lapsed or unknown"}) from None


@operation(blueprint, "GET /me", answer=MeAnswer)
def get_me(tx: Tx) -> Json:
    """Who I am, and what I may do somewhere."""
    actor = signed_in().actor
    return {
        "id": actor.person_id,
        "name": signed_in().name,
        "side": actor.side,
        "tenants": people.list_tenants_of_actor(tx),
        "permissions": sorted(people.list_permissions(tx)),
    }


@operation(blueprint, "POST /me/password", takes=PasswordBody, status=204)
def change_password(tx: Tx, body: Json) -> None:
    """Change my password; all my sessions and tokens end, this one too."""
    confirm(tx, body["current"])  # counted as a try to sign in
    signin.change_password(tx, Secret(body["current"]), Secret(body["password"]))


@operation(blueprint, "GET /me/mails", answer=MailsAnswer)
def get_mails(tx: Tx) -> Reading:
    """In which language and by which clock I read mails, and which I declined."""
    return readers.read(tx)


@operation(blueprint, "POST /me/mails", takes=MailsBody, answer=MailsAnswer)
def choose_mails(tx: Tx, body: Json) -> Reading:
    """Choose how mails to me read, and which are not sent."""
    readers.choose(tx, Reading(body["language"], body["zone"], tuple(body["declined"])))
    return readers.read(tx)


@operation(blueprint, "GET /people", query=PeopleQuery, answer=list_of(MemberAnswer))
def list_people(tx: Tx, query: Json) -> Json:
    """People with a role in a tenant, or in the vendor when none is named.

    Addresses of a tenant's people are its own to see, and the privacy officers'.
    """
    tenant_id = query.get("tenant")
    people.check(tx, "person:read", tenant_id)
    if tenant_id is not None:
        tenants.get_tenant(tx, tenant_id)
    members = people.list_members(tx, tenant_id)
    if tenant_id is not None and not contacting.sees_addresses(tx):
        members = [replace(one, email="") for one in members]
    return whole(members)


@operation(blueprint, "POST /people", takes=PersonBody, answer=PersonAnswer, status=201)
def add_person(tx: Tx, body: Json) -> Json:
    """Give a person a role, and mail them an invitation.

    A tenant's admins do it for their tenant, the vendor's operators for the vendor.
    """
    new = NewMember(body.get("tenant"), body["email"], body["name"], body["role"])
    return {"id": enrolling.add_member(tx, new, the_broker().settings)}


@operation(blueprint, "DELETE /people/<id:person_id>/roles", query=TenantQuery, status=204)
def remove_person(tx: Tx, query: Json, person_id: str) -> None:
    """End all roles of a person in a tenant; refused for its last admin."""
    enrolling.remove_member(tx, PersonId(person_id), TenantId(query["tenant"]))


@operation(blueprint, "POST /people/<id:person_id>/disable", answer=PersonAnswer)
def disable_person(tx: Tx, person_id: str) -> people.Person:
    """Shut out a person of the vendor: no sign-in, no token, and what they asked for ends."""
    return enrolling.disable(tx, person_id)


@operation(blueprint, "POST /people/<id:person_id>/erase", answer=ErasureAnswer)
def erase_person(tx: Tx, person_id: str) -> erasing.Erasure:
    """Erase what names a person who can no longer act; every log still verifies."""
    return erasing.erase_person(tx, person_id)


@operation(blueprint, "POST /people/<id:person_id>/end-access", answer=AccessEndedAnswer)
def end_access_of_person(tx: Tx, person_id: PersonId) -> Json:
    """End all that this person asked for: a tenant's admin in that tenant, a lead everywhere."""
    return {"ended": lifecycle.end_all_of_person(tx, person_id, the_broker().queue)}
