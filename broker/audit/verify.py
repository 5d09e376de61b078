"""The offline verifier: what a customer checks without trusting us, our database or our word (G10).

`verify_bundle` reads top to bottom as the list of what is checked. It never raises for bad input:
each check leaves findings, one sentence each, and a verdict that is good only if all are.

Trust comes from outside. Keys named in a bundle are hints: a bundle that only they vouch for is
"self-consistent, not authenticated", and that is not a pass.

What a bundle can't show is that nothing came after it. A shorter, older bundle verifies as well;
who kept a checkpoint passes it as `kept`, and a log that no longer contains it is refused.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from broker.audit.bundle import Bundle, Opening, parse_bundle
from broker.audit.dsse import MAX_PAYLOAD_BYTES, open_envelope
from broker.audit.merkle import Frontier, leaf_hash
from broker.audit.note import Checkpoint, VerifierKey, open_note, parse_checkpoint
from broker.entries import (
    Entry,
    Json,
    commitment,
    get_name,
    is_version_1,
    parse_canonical,
    parse_entry,
)
from broker.errors import Invalid, VerificationFailed

CERTIFICATE_TYPE = "application/vnd.support-access-broker.destruction+json"
# Entries are integrated in the order of their commits and carry the instant at which their
# transaction opened. Transactions overlap, so instants may step back, by no more than this.
OVERLAP = timedelta(seconds=120)
_CERTIFICATE_IDS = ("certificate", "snapshot", "log")


@dataclass(frozen=True, slots=True)
class Finding:
    ok: bool
    text: str


@dataclass(frozen=True, slots=True)
class Summary:
    """What the log says, as far as it could be read; to be believed only if the report is ok."""

    origin: str = ""
    entries: int = 0
    last_checkpoint: Checkpoint | None = None
    last_note: str = ""  # the last checkpoint as it was signed: what a reader keeps
    first_at: datetime | None = None
    last_at: datetime | None = None
    open_grants: tuple[str, ...] = ()
    living_copies: tuple[str, ...] = ()
    certificates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """`authenticated`: everything that is signed carries a signature by a key from outside."""

    findings: tuple[Finding, ...]
    authenticated: bool
    summary: Summary = field(default_factory=Summary)
    statement: Mapping[str, Json] | None = None  # of `verify_certificate`, once its signature holds

    @property
    def ok(self) -> bool:
        return self.authenticated and all(finding.ok for finding in self.findings)


def load_trusted(text: str) -> tuple[VerifierKey, ...]:
    """Read a trust file: one verifier key a line; `#` begins a comment. Raises Invalid."""
    keys = []
    for number, line in enumerate(text.splitlines(), start=1):
        content = line.partition("#")[0].strip()
        if content:
            try:
                keys.append(VerifierKey.parse(content))
            except VerificationFailed as error:
                raise Invalid(f"line {number} of the trust file: {error.message}") from None
    return tuple(dict.fromkeys(keys))


def statements_key_name(origin: str) -> str:
    """The name of the key that signs certificates for the log `origin`."""
    return f"{origin.partition('/')[0]}/statements"


def verify_bundle(data: bytes, trusted: Sequence[VerifierKey], kept: Sequence[str] = ()) -> Report:
    """Check an export bundle against the keys in `trusted`, which come from outside it.

    `kept` are checkpoints (notes) that the reader had earlier and that the log must contain.
    """
    try:
        bundle = parse_bundle(data)
    except VerificationFailed as error:
        return _refused(f"The bundle is malformed: {error}.")
    check = _Check(bundle, trusted)
    check.hints()
    checkpoints = check.checkpoints()
    check.roots(checkpoints)
    check.kept(kept)
    check.coverage(checkpoints)
    entries = check.entries()
    check.instants(entries)
    check.openings(entries)
    check.grounds(entries)
    open_grants = check.grants(entries)
    living = check.copies(entries)
    certificates = check.certificates(entries)
    check.keys_from_outside()
    return Report(
        tuple(check.findings),
        authenticated=check.authenticated,
        summary=Summary(
            origin=bundle.origin,
            entries=len(bundle.entries),
            last_checkpoint=checkpoints[-1] if checkpoints else None,
            last_note=bundle.checkpoints[-1] if bundle.checkpoints else "",
            first_at=min((entry.at for entry in entries.values()), default=None),
            last_at=max((entry.at for entry in entries.values()), default=None),
            open_grants=open_grants,
            living_copies=living,
            certificates=certificates,
        ),
    )


def verify_certificate(data: bytes, trusted: Sequence[VerifierKey]) -> Report:
    """Check one certificate by itself; `statement` is what it says."""
    for key in trusted:
        try:
            statement = _open_certificate(data, [key])
        except VerificationFailed:
            continue
        certificate, snapshot, origin = (str(statement[name]) for name in _CERTIFICATE_IDS)
        if key.name == statements_key_name(origin):  # one vendor's key speaks for its own logs only
            text = f"Certificate {certificate} for copy {snapshot} is signed by {key.hint}."
            found = (Finding(ok=True, text=text),)
            summary = Summary(origin=origin, certificates=(certificate,))
            return Report(found, authenticated=True, summary=summary, statement=statement)
    return _refused("No trusted key has signed this certificate, or it was changed since.")


def _refused(text: str) -> Report:
    return Report((Finding(ok=False, text=text),), authenticated=False)


def _open_certificate(data: bytes, keys: Sequence[VerifierKey]) -> dict[str, Json]:
    """What a certificate says, its signature verified first. Raises VerificationFailed."""
    payload = open_envelope(data, CERTIFICATE_TYPE, keys)
    statement = parse_canonical(payload, max_bytes=MAX_PAYLOAD_BYTES)
    if not is_version_1(statement) or statement.get("type") != "destruction":
        raise VerificationFailed("this is no certificate of destruction of version 1")
    for name in _CERTIFICATE_IDS:
        get_name(statement, name)
    return statement


def _opens(opening: Opening, entry: Entry) -> bool:
    salt, value = opening.salt, opening.value
    try:
        opened = commitment(entry.log_origin, entry.nonce, opening.field, salt, value)
    except Invalid:  # larger than any value that can be committed to
        return False
    return opened == entry.personal[opening.field]


@dataclass(slots=True)
class _Said:
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

    def note(self, entry: Entry) -> None:
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


def _check_glass(entry: Entry, said: _Said) -> None:
    """Two people of the vendor, as the customer allows, and owing a review. Raises
    VerificationFailed.
    """
    frozen = said.policies.get(str(entry.facts.get("policy")))
    for policy in (frozen, said.last_policy):
        if policy is None or policy.facts.get("break_glass") is not True:
            raise VerificationFailed("no policy of the customer's allows break-glass")
    who = {entry.actor.get("id", ""), *said.approved.get(entry.subject, ())}
    others = who - said.asked.get(entry.subject, set()) - {""}
    if entry.actor["side"] != "vendor" or len(others) < 2:
        raise VerificationFailed(
            "two people of the vendor, who did not ask, do not stand behind it"
        )
    if entry.subject not in said.owed:
        raise VerificationFailed("no review of it is owed")


def _check_ground(entry: Entry, said: _Said) -> None:
    """Raises VerificationFailed."""
    if "break_glass" in entry.facts:
        _check_glass(entry, said)
        return
    if entry.actor["side"] == "tenant" and "standing" not in entry.facts:
        return
    terms = said.standing.get(get_name(entry.facts, "standing"))
    if terms is None or terms.kind != "standing.given":
        raise VerificationFailed("no standing approval in force is named")
    if get_name(terms.facts, "digest") != entry.facts.get("terms"):
        raise VerificationFailed("the standing approval has other terms")
    if get_name(terms.facts, "ends_at")[:19] <= entry.at.isoformat()[:19]:  # both in UTC
        raise VerificationFailed("the standing approval was over")


class _Check:
    """One bundle under examination: each method is one check, and adds its findings."""

    def __init__(self, bundle: Bundle, trusted: Sequence[VerifierKey]) -> None:
        self.bundle = bundle
        self.trusted = trusted
        self.hinted: list[VerifierKey] = []
        self.missing_keys: list[str] = []
        self.findings: list[Finding] = []
        self.authenticated = True  # until something signed turns out not to be

    def good(self, text: str) -> None:
        self.findings.append(Finding(ok=True, text=text))

    def bad(self, text: str) -> None:
        self.findings.append(Finding(ok=False, text=text))

    def hints(self) -> None:
        for text in self.bundle.keys:
            try:
                self.hinted.append(VerifierKey.parse(text))
            except VerificationFailed as error:
                self.bad(f"A key named in the bundle is malformed: {error}.")

    def _keys(self, name: str) -> list[VerifierKey]:
        """Trusted keys of that name; only where there is none at all, the bundle's own hints."""
        keys = [key for key in self.trusted if key.name == name]
        if not keys:
            self.missing_keys.append(name)
            keys = [key for key in self.hinted if key.name == name]
        return keys

    def keys_from_outside(self) -> None:
        """The last word: what only the bundle's own keys vouch for is not authenticated."""
        if self.missing_keys:
            self.authenticated = False
            sound = all(finding.ok for finding in self.findings)
            verdict = "Self-consistent, not authenticated" if sound else "Not authenticated"
            self.bad(f"{verdict}: no key {', '.join(self.missing_keys)} was given from outside.")

    def checkpoints(self) -> list[Checkpoint]:
        """Each checkpoint is signed by the log's key, names this log, and is larger than the last.

        Returns those that hold.
        """
        found: list[Checkpoint] = []
        keys = self._keys(self.bundle.origin)
        for number, note in enumerate(self.bundle.checkpoints, start=1):
            try:
                above = found[-1].size if found else -1
                found.append(self._open_checkpoint(note, keys, above))
            except VerificationFailed as error:
                self.authenticated = False
                self.bad(f"Checkpoint {number} does not hold: {error}.")
        if not self.bundle.checkpoints:
            self.authenticated = False
            self.bad("The bundle has no checkpoint, so nothing in it is signed.")
        elif len(found) == len(self.bundle.checkpoints):
            self.good(f"The signatures of {len(found)} checkpoints hold.")
        return found

    def _open_checkpoint(
        self, note: str, keys: Sequence[VerifierKey], above: int = -1
    ) -> Checkpoint:
        checkpoint = parse_checkpoint(open_note(note, keys)[0])
        if checkpoint.origin != self.bundle.origin:
            raise VerificationFailed(f"it is of another log, {checkpoint.origin}")
        if checkpoint.size <= above:
            raise VerificationFailed("it is not larger than the one before it")
        return checkpoint

    def roots(self, checkpoints: Sequence[Checkpoint]) -> None:
        """The entries, hashed afresh, give each checkpoint's root."""
        covered = 0
        for checkpoint, root in self._recomputed(checkpoints):
            if root == checkpoint.root:
                covered = checkpoint.size
            else:
                self.bad(
                    f"The first {checkpoint.size} entries are not those that were signed:"
                    " something was changed, removed or added."
                )
        self.good(f"The first {covered} entries are those that were signed.")

    def _recomputed(
        self, checkpoints: Iterable[Checkpoint]
    ) -> Iterable[tuple[Checkpoint, bytes | None]]:
        """Each checkpoint, by size, with the root of as many entries; None if there are fewer."""
        frontier = Frontier()
        for checkpoint in sorted(checkpoints, key=lambda checkpoint: checkpoint.size):
            for entry in self.bundle.entries[frontier.size : checkpoint.size]:
                frontier.append(leaf_hash(entry))
            yield checkpoint, frontier.root() if frontier.size == checkpoint.size else None

    def kept(self, notes: Sequence[str]) -> None:
        """The log still contains what the reader had seen of it."""
        keys = [key for key in self.trusted if key.name == self.bundle.origin]
        opened: list[Checkpoint] = []
        for number, note in enumerate(notes, start=1):
            try:
                opened.append(self._open_checkpoint(note, keys))
            except VerificationFailed as error:
                self.bad(f"Kept checkpoint {number} does not hold: {error}.")
        for checkpoint, root in self._recomputed(opened):
            if root == checkpoint.root:
                self.good(f"The log only adds to your checkpoint of {checkpoint.size} entries.")
            else:
                self.bad(
                    f"The log does not contain your checkpoint of {checkpoint.size} entries:"
                    " its past was cut or rewritten."
                )

    def coverage(self, checkpoints: Sequence[Checkpoint]) -> None:
        covered = checkpoints[-1].size if checkpoints else 0
        if len(self.bundle.entries) > covered:
            self.bad(f"Entries from number {covered} on are not yet covered by a checkpoint.")

    def entries(self) -> dict[int, Entry]:
        """Every entry is well-formed and of this log. Returns those, by index."""
        found: dict[int, Entry] = {}
        for index, data in enumerate(self.bundle.entries):
            try:
                found[index] = self._parse_own(data)
            except VerificationFailed as error:
                self.bad(f"Entry {index} does not hold: {error}.")
        if len(found) == len(self.bundle.entries):
            self.good(f"All {len(found)} entries are well-formed and of log {self.bundle.origin}.")
        return found

    def _parse_own(self, data: bytes) -> Entry:
        entry = parse_entry(data)
        if entry.log_origin != self.bundle.origin:
            raise VerificationFailed(f"it is of another log, {entry.log_origin}")
        return entry

    def instants(self, entries: Mapping[int, Entry]) -> None:
        latest: datetime | None = None
        for index, entry in entries.items():
            if latest is not None and entry.at < latest - OVERLAP:
                self.bad(f"Entry {index} is dated {latest - entry.at} before an earlier entry.")
            latest = entry.at if latest is None else max(latest, entry.at)

    def openings(self, entries: Mapping[int, Entry]) -> None:
        """Each opening fits the commitment that it names. One that is missing was erased, or never
        given to this reader: that is no fault.
        """
        twice = Counter((opening.index, opening.field) for opening in self.bundle.openings)
        held = 0
        for opening in self.bundle.openings:
            where = f"The opening of {opening.field!r} in entry {opening.index}"
            entry = entries.get(opening.index)
            if entry is None or opening.field not in entry.personal:
                self.bad(f"{where} opens nothing that stands there.")
            elif twice[opening.index, opening.field] > 1:
                self.bad(f"{where} stands there twice.")
            elif not _opens(opening, entry):
                self.bad(f"{where} is not what was committed to.")
            else:
                held += 1
        committed = sum(len(entry.personal) for entry in entries.values())
        self.good(f"{held} of {committed} personal fields are opened here, and hold.")

    def grounds(self, entries: Mapping[int, Entry]) -> None:
        """A grant that nobody of the customer approved is explained by a standing approval: one in
        force then, with the very terms that the entry names; or by break-glass.
        """
        said = _Said()
        for index, entry in entries.items():
            said.note(entry)
            if entry.kind == "grant.approved":
                try:
                    _check_ground(entry, said)
                except VerificationFailed as error:
                    self.bad(
                        f"Entry {index}: what approved {entry.subject} is unexplained: {error}."
                    )

    def grants(self, entries: Mapping[int, Entry]) -> tuple[str, ...]:
        """No grant comes back after its end. Returns those that are still open."""
        still = self._lifecycle(entries, "grant.approved", "grant.ended")
        self.findings += [Finding(ok=True, text=f"Grant {one} is still open.") for one in still]
        return still

    def copies(self, entries: Mapping[int, Entry]) -> tuple[str, ...]:
        """No copy comes back after its destruction. Returns those that are still alive."""
        still = self._lifecycle(entries, "snapshot.ordered", "snapshot.destroyed")
        condemned = {e.subject for e in entries.values() if e.kind == "snapshot.condemned"}
        held = self._held(entries)
        for one in still:
            how = "is still alive"
            if one in condemned:
                how = "is condemned and held by law" if one in held else "is not destroyed yet"
            self.findings.append(Finding(ok=True, text=f"Copy {one} {how}."))
        return still

    def _held(self, entries: Mapping[int, Entry]) -> set[str]:
        """Copies with a legal hold that began and has not ended. None is destroyed meanwhile."""
        begun: dict[str, str] = {}
        for index, entry in entries.items():
            if entry.kind == "snapshot.destroyed" and entry.subject in begun.values():
                self.bad(f"Entry {index}: copy {entry.subject} was destroyed under a legal hold.")
            if entry.kind == "hold.begun":
                begun[entry.subject] = str(entry.facts.get("snapshot"))
            elif entry.kind == "hold.ended":
                begun.pop(entry.subject, None)
        return set(begun.values())

    def _lifecycle(self, entries: Mapping[int, Entry], begin: str, end: str) -> tuple[str, ...]:
        """Subjects that began and have not ended. An end without a beginning is no fault: the
        beginning may stand in an earlier log, or the subject was found as a remnant.
        """
        begun: dict[str, None] = {}
        ended: set[str] = set()
        for index, entry in entries.items():
            if entry.kind == begin:
                if entry.subject in begun or entry.subject in ended:
                    self.bad(
                        f"Entry {index}: a second {begin} of {entry.subject}, or one after its end."
                    )
                begun[entry.subject] = None
            elif entry.kind == end:
                if entry.subject in ended:
                    self.bad(f"Entry {index}: a second {end} of {entry.subject}.")
                ended.add(entry.subject)
        return tuple(subject for subject in begun if subject not in ended)

    def certificates(self, entries: Mapping[int, Entry]) -> tuple[str, ...]:
        """Each certificate stands in the log, and each that stands there is in the bundle. Returns
        the ids of those that hold and were not revoked.
        """
        held: list[str] = []
        issued = {i: e for i, e in entries.items() if e.kind == "certificate.issued"}
        keys = self._keys(statements_key_name(self.bundle.origin)) if issued else []
        destroyed = {e.subject for e in entries.values() if e.kind == "snapshot.destroyed"}
        revoked = {e.subject for e in entries.values() if e.kind == "certificate.revoked"}
        envelopes = {hashlib.sha256(data).hexdigest(): data for data in self.bundle.certificates}
        if len(envelopes) != len(self.bundle.certificates):
            self.bad("A certificate stands in the bundle twice.")
        for index, entry in issued.items():
            try:
                data = envelopes.pop(get_name(entry.facts, "digest"), None)
                certificate, snapshot = self._match_certificate(entry, data, keys)
            except VerificationFailed as error:
                self.bad(f"The certificate of entry {index} does not hold: {error}.")
                continue
            if certificate in held:
                self.bad(f"Certificate {certificate} was issued twice.")
            if snapshot not in destroyed:
                self.bad(f"Copy {snapshot} has a certificate, but no entry says it was destroyed.")
            since = ", and was revoked later" if certificate in revoked else ""
            text = f"Certificate {certificate} for copy {snapshot} is signed and in the log{since}."
            self.good(text)
            held.append(certificate)
        for digest in envelopes:
            self.bad(f"The certificate with digest {digest} has no entry in the log.")
        return tuple(certificate for certificate in held if certificate not in revoked)

    def _match_certificate(
        self, entry: Entry, data: bytes | None, keys: Sequence[VerifierKey]
    ) -> tuple[str, str]:
        """The ids of the certificate and of its copy. Raises VerificationFailed."""
        if data is None:
            raise VerificationFailed("it is not in the bundle, or not with this digest")
        statement = _open_certificate(data, keys)
        if statement["log"] != self.bundle.origin:
            raise VerificationFailed(f"it speaks of another log, {statement['log']}")
        for name in ("certificate", "snapshot"):
            if statement[name] != entry.facts.get(name):
                raise VerificationFailed(f"its {name} is not the one that the entry names")
        return get_name(statement, "certificate"), get_name(statement, "snapshot")
