"""What explains an approval: a grant that nobody of the customer approved rests on a standing
approval in force then, with the very terms that its entry names, or is break-glass.

Fed entry by entry, in the order of the log; it keeps what a later entry may rest on, and no more.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from broker.entries import Entry, get_name
from broker.errors import VerificationFailed


@dataclass(slots=True)
class Grounds:
    """What the log said so far that can explain an approval: the last entry of each standing
    approval; policies by version, and the last of all; who asked for and who approved each grant;
    grants of which a review is owed.
    """

    standing: dict[str, Entry] = field(default_factory=dict)
    policies: dict[str, Entry] = field(default_factory=dict)
    last_policy: Entry | None = None
    asked: dict[str, set[str]] = field(default_factory=dict)
    approved: dict[str, set[str]] = field(default_factory=dict)
    owed: set[str] = field(default_factory=set)

    def check(self, entry: Entry) -> None:
        """Note the entry. Raises VerificationFailed if it is an approval without a ground."""
        self._note(entry)
        if entry.kind != "grant.approved":
            return
        if "break_glass" in entry.facts:
            self._check_glass(entry)
        elif entry.actor["side"] != "tenant" or "standing" in entry.facts:
            self._check_standing(entry)

    def _note(self, entry: Entry) -> None:
        who = entry.actor.get("id", "")
        if entry.kind.startswith("standing."):
            self.standing[entry.subject] = entry
        elif entry.kind == "policy.changed":
            self.last_policy = entry
            self.policies[str(entry.facts.get("version"))] = entry
        elif entry.kind == "grant.requested":
            self.asked.setdefault(entry.subject, set()).add(who)
        elif entry.kind == "approval.given" and entry.actor["side"] == "vendor":
            self.approved.setdefault(entry.subject, set()).add(who)
        elif entry.kind == "review.owed":
            self.owed.add(str(entry.facts.get("grant")))

    def _check_glass(self, entry: Entry) -> None:
        """Two people of the vendor, as the customer allows, and owing a review."""
        frozen = self.policies.get(str(entry.facts.get("policy")))
        for policy in (frozen, self.last_policy):
            if policy is None or policy.facts.get("break_glass") is not True:
                raise VerificationFailed("no policy of the customer's allows break-glass")
        who = {entry.actor.get("id", ""), *self.approved.get(entry.subject, ())}
        others = who - self.asked.get(entry.subject, set()) - {""}
        if entry.actor["side"] != "vendor" or len(others) < 2:
            raise VerificationFailed(
                "two people of the vendor, who did not ask, do not stand behind it"
            )
        if entry.subject not in self.owed:
            raise VerificationFailed("no review of it is owed")

    def _check_standing(self, entry: Entry) -> None:
        terms = self.standing.get(get_name(entry.facts, "standing"))
        if terms is None or terms.kind != "standing.given":
            raise VerificationFailed("no standing approval in force is named")
        if get_name(terms.facts, "digest") != entry.facts.get("terms"):
            raise VerificationFailed("the standing approval has other terms")
        if get_name(terms.facts, "ends_at")[:19] <= entry.at.isoformat()[:19]:  # both in UTC
            raise VerificationFailed("the standing approval was over")
