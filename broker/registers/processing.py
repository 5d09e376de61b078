"""The register of processing (GDPR 30) and the privacy notice (13), made from the configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from broker import people
from broker.consents import recipients
from broker.consents.purposes import LANGUAGES, RECIPIENT, Purpose, list_purposes
from broker.consents.recipients import Recipient
from broker.errors import Invalid
from broker.retention import schedule
from broker.retention.schedule import Term
from broker.tx import Tx

_BASES: Mapping[str, Mapping[str, str]] = {
    "en": {
        "consent": "your consent (GDPR 6(1)(a))",
        "contract": "the contract (GDPR 6(1)(b))",
        "legal_duty": "a legal duty (GDPR 6(1)(c))",
        "legitimate_interest": "our legitimate interest (GDPR 6(1)(f))",
    },
    "fr": {
        "consent": "votre consentement (RGPD 6(1)(a))",
        "contract": "le contrat (RGPD 6(1)(b))",
        "legal_duty": "une obligation légale (RGPD 6(1)(c))",
        "legitimate_interest": "notre intérêt légitime (RGPD 6(1)(f))",
    },
}
_WORDS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "title": "What {vendor} does with data about you in its support-access broker",
        "purposes": "For what, and on what ground",
        "asked": "at most {days} days each time, withdrawn at any time",
        "given_by": "given by {who}",
        "tenant": "an admin, for the organisation",
        "person": "each person, for themselves",
        "terms": "For how long",
        "days": "{days} days, then {fate}",
        "erase": "erased",
        "anonymise": "its content erased",
        "keep": "to the end of the contract and its legal term",
        "after_contract": "erased, once nothing of a customer that left is alive",
        "elsewhere": "minutes or days",
        "unconfirmed": "This schedule is not carried out yet: nothing is erased by it before it is "
        "confirmed.",
        "none": "No schedule stands: nothing is erased by its term.",
        "recipients": "Who else gets anything",
        "nobody": "Nobody.",
        "sub_processor": "works for us, on contract",
        "third_party": "only for organisations that consent to it by name",
        "gets": "{name} ({country}), {kind}: {use}; gets: {data}",
        "from": "from {day} on",
        "rights": "Your rights",
        "how": "Access, copy, rectification, erasure, restriction, objection: on the console under "
        "Your data; answered within a month. You can complain to your supervisory authority.",
    },
    "fr": {
        "title": "Ce que {vendor} fait des données qui vous concernent dans son courtier d'accès",
        "purposes": "Pour quoi, et sur quelle base",
        "asked": "{days} jours au plus à chaque fois, retiré à tout moment",
        "given_by": "donné par {who}",
        "tenant": "un administrateur, pour l'organisation",
        "person": "chaque personne, pour elle-même",
        "terms": "Pour combien de temps",
        "days": "{days} jours, puis {fate}",
        "erase": "effacé",
        "anonymise": "contenu effacé",
        "keep": "jusqu'à la fin du contrat et de son délai légal",
        "after_contract": "effacé, une fois que plus rien d'un client parti n'est actif",
        "elsewhere": "quelques minutes ou jours",
        "unconfirmed": "Ce calendrier n'est pas encore appliqué : rien n'est effacé selon lui "
        "avant qu'il soit confirmé.",
        "none": "Aucun calendrier n'est en place : rien n'est effacé à échéance.",
        "recipients": "Qui d'autre reçoit quelque chose",
        "nobody": "Personne.",
        "sub_processor": "travaille pour nous, par contrat",
        "third_party": "seulement pour les organisations qui y consentent nommément",
        "gets": "{name} ({country}), {kind} : {use} ; reçoit : {data}",
        "from": "à partir du {day}",
        "rights": "Vos droits",
        "how": "Accès, copie, rectification, effacement, limitation, opposition : sur la console, "
        "sous Vos données ; réponse sous un mois. Vous pouvez saisir votre autorité de contrôle.",
    },
}


@dataclass(frozen=True, slots=True)
class Section:
    """A heading of the notice, and its lines."""

    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Notice:
    language: str
    title: str
    sections: tuple[Section, ...]


@dataclass(frozen=True, slots=True)
class Activity:
    """One row of the register of processing; `recipients` are names."""

    name: str
    title: str
    purpose: str
    basis: str
    given_by: str
    max_days: int
    recipients: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Configured:
    """What stands now, of all that the two documents are made from."""

    purposes: Sequence[Purpose]
    terms: Sequence[Term]
    confirmed: bool
    recipients: Sequence[Recipient]


def read(tx: Tx) -> Configured:
    row = schedule.find_standing(tx)
    return Configured(
        purposes=list_purposes(tx),
        terms=schedule.list_terms(row) if row is not None else (),
        confirmed=row is not None and row.confirmed_at is not None,
        recipients=recipients.list_all(tx, open_only=True),
    )


def make_notice(tx: Tx, vendor: str, language: str) -> Notice:
    """For whoever is signed in, in that language. Raises Invalid."""
    if language not in LANGUAGES:
        raise Invalid("not in that language", fields={"language": f"one of {', '.join(LANGUAGES)}"})
    found, words = read(tx), _WORDS[language]
    parts = {
        "purposes": [_say_purpose(one, language) for one in found.purposes],
        "terms": _say_terms(found, language),
        "recipients": [_say_recipient(one, words) for one in found.recipients] or [words["nobody"]],
        "rights": [words["how"]],
    }
    sections = tuple(Section(words[name], tuple(lines)) for name, lines in parts.items())
    return Notice(language, words["title"].format(vendor=vendor), sections)


def _say_purpose(purpose: Purpose, language: str) -> str:
    words, text = _WORDS[language], purpose.texts[language]
    said = [f"{text.name}: {text.text}", _BASES[language][purpose.basis]]
    if purpose.is_asked:
        said.append(words["given_by"].format(who=words[purpose.given_by]))
        said.append(words["asked"].format(days=purpose.max_days))
    return " · ".join(said)


def _say_terms(found: Configured, language: str) -> list[str]:
    words = _WORDS[language]
    if not found.terms:
        return [words["none"]]
    lines = [
        f"{term.what[language]}: {_say_term(term, words)} ({term.basis[language]})"
        for term in found.terms
    ]
    return lines if found.confirmed else [words["unconfirmed"], *lines]


def _say_term(term: Term, words: Mapping[str, str]) -> str:
    fate = words[term.fate]
    return words["days"].format(days=term.days, fate=fate) if term.days else fate


def _say_recipient(one: Recipient, words: Mapping[str, str]) -> str:
    named = {"name": one.name, "country": one.country, "use": one.use, "data": one.data}
    said = words["gets"].format(kind=words[one.kind], **named)
    since = words["from"].format(day=f"{one.starts_at:%Y-%m-%d}")
    return " · ".join([said, since, *([one.safeguard] if one.safeguard else [])])


def list_processing(tx: Tx, language: str = "en") -> list[Activity]:
    """The register of processing, an activity for each purpose, for privacy officers."""
    people.check(tx, "register:read")
    found = read(tx)
    workers = tuple(one.name for one in found.recipients if one.kind == "sub_processor")
    named = tuple(one.name for one in found.recipients if one.kind == "third_party")
    return [
        Activity(
            name=one.name,
            title=one.texts[language].name,
            purpose=one.texts[language].text,
            basis=_BASES[language][one.basis],
            given_by=one.given_by,
            max_days=one.max_days,
            recipients=workers + (named if one.names == RECIPIENT else ()),
        )
        for one in found.purposes
    ]
