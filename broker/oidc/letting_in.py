"""What a proof becomes: a session, a confirmation, a link.

What must stay true: nobody is found by an address; an unknown `sub` opens nothing, whoever it says
it is; a session is limited to the organisation whose service opened it; roles come from groups only
where the organisation mapped them, and never leave it without an admin.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from broker import people, roles, sessions, signin
from broker.accounts import record_for_all
from broker.errors import Denied, NotAuthenticated
from broker.ids import PersonId
from broker.languages import mark
from broker.oidc import links, tokens
from broker.oidc.model import IdentityProvider
from broker.oidc.providers import tenant_of
from broker.oidc.tokens import LEEWAY_S, Proven
from broker.people import Person
from broker.secret import Secret
from broker.sessions import Bound
from broker.tx import Tx

_LONG_AGO = timedelta(days=1)


def enter(tx: Tx, provider: IdentityProvider, proven: Proven) -> tuple[Secret[str], PersonId]:
    """The token of a new session. Raises NotAuthenticated, Denied."""
    person_id = links.find_person(tx, provider, proven.subject)
    person = None if person_id is None else tx.session.get_one(Person, person_id)
    if person_id is None or person is None or person.disabled_at is not None:
        raise NotAuthenticated(
            mark(
                "this sign-in is linked with no account here; begin with the mail that invited "
                "you, or ask an admin of your organisation for an invitation"
            )
        )
    tenant_id = tenant_of(provider)
    if not people.is_member(tx, person_id, tenant_id):
        raise Denied(mark("your organisation gives you no role here; ask one of its admins"))
    bound = Bound(
        provider.id, tenant_id, proven.subject, proven.sid, _proved_at(tx, provider, proven)
    )
    return sessions.open_session(tx, person, "organisation", bound), person_id


def accept(tx: Tx, provider: IdentityProvider, proven: Proven, invitation_id: str) -> PersonId:
    """Link the account that was invited. Raises NotFound when the invitation is used or old."""
    person = signin.use_invitation(tx, invitation_id)
    links.make(tx, provider, proven.subject, PersonId(person.id))
    record_for_all(tx, person, "invitation.accepted")
    return PersonId(person.id)


def confirm(tx: Tx, provider: IdentityProvider, proven: Proven, session_id: str) -> None:
    """Note that the session's person proved again who they are, just now and strongly enough."""
    person_id = links.find_person(tx, provider, proven.subject)
    if person_id is None or person_id != sessions.find_person(tx, session_id):
        raise NotAuthenticated(mark("another account signed in at your organisation's service"))
    fresh = proven.auth_time is not None and tx.at.timestamp() - proven.auth_time <= 5 * LEEWAY_S
    if not fresh or not tokens.satisfies(proven, provider.step_up_acr, provider.step_up_amr):
        raise NotAuthenticated(
            mark("your organisation's service did not say that you proved again who you are")
        )
    sessions.note_confirmed(tx, session_id, "organisation")


def _proved_at(tx: Tx, provider: IdentityProvider, proven: Proven) -> datetime:
    """When the person was there, as far as the service says so, and strongly enough for acts that
    ask again; else so long ago that they ask.
    """
    strong = tokens.satisfies(proven, provider.step_up_acr, provider.step_up_amr)
    if proven.auth_time is None or not strong:
        return tx.at - _LONG_AGO
    return min(tx.at, datetime.fromtimestamp(proven.auth_time, UTC))


def take_roles(tx: Tx, provider: IdentityProvider, proven: Proven) -> None:
    """Before `enter`, in a transaction of its own: who has no group any more loses the roles, and
    is then refused.
    """
    person_id = links.find_person(tx, provider, proven.subject)
    if person_id is None or not provider.roles:
        return
    tenant_id = tenant_of(provider)
    wanted = {provider.roles[one] for one in proven.groups or () if one in provider.roles}
    held = roles.list_roles(tx, person_id, tenant_id)
    lone = "admin" in held and not roles.has_other_admin(tx, person_id, tenant_id)
    if lone:
        wanted.add("admin")  # else nobody could mend a wrong mapping
    roles.set_roles(tx, person_id, tenant_id, wanted)
