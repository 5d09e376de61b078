"""The offline verifier: what a customer checks without trusting us, our database or our word (G10).

`verify_bundle` reads a bundle once, line by line. It never raises for bad input: each check leaves
findings, one sentence each, and a verdict that is good only if all are.

Trust comes from outside. Keys named in a bundle are hints: a bundle that only they vouch for is
"self-consistent, not authenticated", and that is not a pass.

What a bundle can't show is that nothing came after it. A shorter, older bundle verifies as well;
who kept a checkpoint passes it as `kept`, and a log that no longer contains it is refused.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, BinaryIO

from broker.audit.bundle import (
    CertificateLine,
    EntryLine,
    Header,
    Opening,
    Part,
    Pruned,
    Stamp,
    read_bundle,
)
from broker.audit.certified import (
    CERTIFICATE_IDS,
    Certified,
    open_certificate,
    statements_key_name,
)
from broker.audit.cosigning import WitnessKey
from broker.audit.findings import Finding, Report, Summary
from broker.audit.gaps import Gaps
from broker.audit.grounds import Grounds
from broker.audit.lives import Holds, Lives
from broker.audit.note import Checkpoint, VerifierKey
from broker.audit.placed import Places
from broker.audit.promises import Promised, Promises
from broker.audit.root_log import Place, text_of
from broker.audit.signed_tree import SignedTree
from broker.audit.stamped import OVERLAP, Stamps
from broker.entries import Entry, commitment, parse_entry
from broker.errors import Invalid, VerificationFailed

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


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


@dataclass(frozen=True, slots=True)
class Others:
    """Third parties whom the reader trusts: `witnesses` must have cosigned the root log, in which
    the bundle's place is shown; `tsa_roots` are those of timestamping authorities. `slot` is no
    party but what the reader was told: its number in the root log, and SHA-256 of the slot's key.
    Nor is `promised`: what signed decisions that the reader holds promise of the log.
    """

    witnesses: Sequence[WitnessKey] = ()
    tsa_roots: Sequence[Certificate] = ()
    slot: tuple[int, str] | None = None
    promised: Sequence[Promised] = ()


_NOBODY = Others()


def verify_bundle(
    source: bytes | BinaryIO,
    trusted: Sequence[VerifierKey],
    kept: Sequence[str] = (),
    others: Others = _NOBODY,
) -> Report:
    """Check an export bundle against the keys in `trusted`, which come from outside it.

    `kept` are checkpoints (notes) that the reader had earlier and that the log must contain. The
    bundle is read line by line, once, and never held.
    """
    try:
        header, parts = read_bundle(io.BytesIO(source) if isinstance(source, bytes) else source)
        check = _Check(header, trusted, others)
        check.checkpoints(kept)
        for part in parts:
            check.part(part)
        return check.report()
    except VerificationFailed as error:
        return _refused(f"The bundle is malformed: {error}.")


def verify_certificate(data: bytes, trusted: Sequence[VerifierKey]) -> Report:
    """Check one certificate by itself; `statement` is what it says."""
    for key in trusted:
        try:
            statement = open_certificate(data, [key])
        except VerificationFailed:
            continue
        certificate, snapshot, origin = (str(statement[name]) for name in CERTIFICATE_IDS)
        if key.name == statements_key_name(origin):  # one vendor's key speaks for its own logs only
            text = f"Certificate {certificate} for copy {snapshot} is signed by {key.hint}."
            found = (Finding(ok=True, text=text),)
            summary = Summary(origin=origin, certificates=(certificate,))
            return Report(found, authenticated=True, summary=summary, statement=statement)
    return _refused("No trusted key has signed this certificate, or it was changed since.")


def _refused(text: str) -> Report:
    return Report((Finding(ok=False, text=text),), authenticated=False)


def _opens(opening: Opening, entry: Entry) -> bool:
    salt, value = opening.salt, opening.value
    try:
        opened = commitment(entry.log_origin, entry.nonce, opening.field, salt, value)
    except Invalid:  # larger than any value that can be committed to
        return False
    return opened == entry.personal[opening.field]


class _Check:
    """One bundle under examination: fed its parts in order, then asked for the report."""

    def __init__(
        self,
        header: Header,
        trusted: Sequence[VerifierKey],
        others: Others = _NOBODY,
    ) -> None:
        self.others = others
        self.stamps = Stamps(others.tsa_roots)
        self.header = header
        self.trusted = trusted
        self.missing_keys: list[str] = []
        self.findings: list[Finding] = []
        self.authenticated = True  # until something signed turns out not to be
        self.hinted = list(self._hints())
        self.tree = SignedTree(header.origin)
        self.signed: list[Checkpoint] = []
        self.seen: list[Checkpoint] = []  # by this reader, earlier
        self.wellformed = 0
        self.entry: Entry | None = None  # the last, if it is one
        self.first_at: datetime | None = None
        self.latest: datetime | None = None
        self.latest_of: dict[int, datetime] = {}  # by the size of a checkpoint
        self.committed = self.opened = 0
        self.grounds = Grounds()
        self.grants = Lives("grant.approved", "grant.ended")
        self.copies = Lives("snapshot.ordered", "snapshot.destroyed")
        self.holds = Holds()
        self.condemned: set[str] = set()
        self.certified = Certified(header.origin, self.stamps)
        self.gaps = Gaps()
        self.places = Places(header.origin, others.slot)
        self.promises = Promises(header.origin, others.promised)

    def good(self, text: str) -> None:
        self.findings.append(Finding(ok=True, text=text))

    def bad(self, text: str) -> None:
        self.findings.append(Finding(ok=False, text=text))

    def _hints(self) -> Iterator[VerifierKey]:
        for text in self.header.keys:
            try:
                yield VerifierKey.parse(text)
            except VerificationFailed as error:
                self.bad(f"A key named in the bundle is malformed: {error}.")

    def _keys(self, name: str) -> list[VerifierKey]:
        """Trusted keys of that name; only where there is none at all, the bundle's own hints."""
        keys = [key for key in self.trusted if key.name == name]
        if not keys:
            self.missing_keys = list(dict.fromkeys([*self.missing_keys, name]))
            keys = [key for key in self.hinted if key.name == name]
        return keys

    def checkpoints(self, kept: Sequence[str]) -> None:
        """Each checkpoint is signed by the log's key, names this log, and is larger than the last;
        so are those that the reader kept, by keys from outside alone.
        """
        keys = self._keys(self.header.origin)
        for number, note in enumerate(self.header.checkpoints, start=1):
            above = self.signed[-1].size if self.signed else -1
            try:
                self.signed.append(self.tree.open(note, keys, above))
            except VerificationFailed as error:
                self.authenticated = False
                self.bad(f"Checkpoint {number} does not hold: {error}.")
        if not self.header.checkpoints:
            self.authenticated = False
            self.bad("The bundle has no checkpoint, so nothing in it is signed.")
        elif len(self.signed) == len(self.header.checkpoints):
            self.good(f"The signatures of {len(self.signed)} checkpoints hold.")
        pinned = [key for key in self.trusted if key.name == self.header.origin]
        for number, note in enumerate(kept, start=1):
            try:
                self.seen.append(self.tree.open(note, pinned))
            except VerificationFailed as error:
                self.bad(f"Kept checkpoint {number} does not hold: {error}.")

    def part(self, part: Part) -> None:
        match part:
            case EntryLine(index=index, entry=data):
                self.tree.append(data)
                self._entry(index, data)
            case Opening():
                self._opening(part)
            case Pruned(index=index, hashes=hashes):
                self.entry = None
                self.gaps.note_gone(index, len(hashes))
                for leaf in hashes:
                    self.tree.append_hash(leaf)
            case CertificateLine(envelope=envelope):
                self.certified.envelopes.append(envelope)
            case Place():
                self._place(part)
            case Stamp(response=response):
                self._stamp(response)

    def _entry(self, index: int, data: bytes) -> None:
        """It is well-formed, of this log, and can follow on those before it."""
        try:
            entry = self.entry = self._parse_own(data)
        except VerificationFailed as error:
            self.entry = None
            self.bad(f"Entry {index} does not hold: {error}.")
            return
        self.wellformed += 1
        self.committed += len(entry.personal)
        self._instant(index, entry)
        try:
            self.grounds.check(entry)
        except VerificationFailed as error:
            self.bad(f"Entry {index}: what approved {entry.subject} is unexplained: {error}.")
        for lives in (self.holds, self.grants, self.copies):
            try:
                lives.note(entry)
            except VerificationFailed as error:
                self.bad(f"Entry {index}: {error}.")
        self.certified.note(index, entry)
        self.gaps.note(index, entry)
        self._note(entry)

    def _parse_own(self, data: bytes) -> Entry:
        entry = parse_entry(data)
        if entry.log_origin != self.header.origin:
            raise VerificationFailed(f"it is of another log, {entry.log_origin}")
        return entry

    def _instant(self, index: int, entry: Entry) -> None:
        at, latest = entry.at, self.latest
        if latest is not None and at < latest - OVERLAP:
            self.bad(f"Entry {index} is dated {latest - at} before an earlier entry.")
        self.latest = at if latest is None or at > latest else latest
        if self.tree.frontier.size in self.tree.due:
            self.latest_of[self.tree.frontier.size] = self.latest
        self.first_at = at if self.first_at is None or at < self.first_at else self.first_at

    def _note(self, entry: Entry) -> None:
        if entry.kind == "snapshot.condemned":
            self.condemned.add(entry.subject)
        self.places.note(entry)
        self.promises.note(entry)

    def _opening(self, opening: Opening) -> None:
        """It fits the commitment that it names. One that is missing was erased, or never given to
        this reader: that is no fault.
        """
        where = f"The opening of {opening.field!r} in entry {opening.index}"
        if self.entry is None or opening.field not in self.entry.personal:
            self.bad(f"{where} opens nothing that stands there.")
        elif not _opens(opening, self.entry):
            self.bad(f"{where} is not what was committed to.")
        else:
            self.opened += 1

    def _place(self, place: Place) -> None:
        held = zip(self.header.checkpoints, self.signed, strict=False)
        notes = [note for note, checkpoint in held if checkpoint.size == place.size]
        whole = len(self.signed) == len(self.header.checkpoints)
        note = notes[0] if notes and whole else None
        self.findings.append(self.places.check(place, note, self._keys(self.header.origin)))

    def _stamp(self, response: bytes) -> None:
        """Of the certificate above it, or of the root log's checkpoint in the place above it."""
        place = self.places.last
        if place is None:
            self.certified.responses[self.certified.envelopes[-1]] = response
            return
        size, text = place.size, text_of(place.checkpoint)
        what = f"The root log, with {size} entries of this log in it,"
        since = self.latest_of.get(size)
        self.findings.append(self.stamps.check(what, response, text, since=since))

    def report(self) -> Report:
        """All that can be said once the last line was read."""
        self._check_roots()
        total = self.tree.frontier.size
        if self.wellformed == total - self.gaps.gone:
            here = self.wellformed
            self.good(f"All {here} entries are well-formed and of log {self.header.origin}.")
        self.findings += self.gaps.check()
        self.good(f"{self.opened} of {self.committed} personal fields are opened here, and hold.")
        grants, copies = self.grants.still(), self._living()
        keys = self._keys(statements_key_name(self.header.origin)) if self.certified.issued else []
        self.findings += self.certified.check(keys, self.copies.ended)
        self.findings += self.places.check_witnesses(self.others.witnesses)
        self.findings += self.promises.check(self.latest)
        self._check_authenticated()
        return Report(
            tuple(self.findings),
            authenticated=self.authenticated,
            summary=Summary(
                origin=self.header.origin,
                entries=total,
                last_checkpoint=self.signed[-1] if self.signed else None,
                last_note=self.header.checkpoints[-1] if self.header.checkpoints else "",
                first_at=self.first_at,
                last_at=self.latest,
                open_grants=grants,
                living_copies=copies,
                certificates=tuple(self.certified.held),
            ),
        )

    def _check_roots(self) -> None:
        """The entries, hashed afresh, give each checkpoint's root, and each is covered by one."""
        covered = 0
        for checkpoint in self.signed:
            if self.tree.holds(checkpoint):
                covered = checkpoint.size
            else:
                self.bad(
                    f"The first {checkpoint.size} entries are not those that were signed:"
                    " something was changed, removed or added."
                )
        self.good(f"The first {covered} entries are those that were signed.")
        for checkpoint in self.seen:
            if self.tree.holds(checkpoint):
                self.good(f"The log only adds to your checkpoint of {checkpoint.size} entries.")
            else:
                self.bad(
                    f"The log does not contain your checkpoint of {checkpoint.size} entries:"
                    " its past was cut or rewritten."
                )
        last = self.signed[-1].size if self.signed else 0
        if self.tree.frontier.size > last:
            self.bad(f"Entries from number {last} on are not yet covered by a checkpoint.")

    def _living(self) -> tuple[str, ...]:
        """What has not ended yet is no fault, and is named."""
        for grant in self.grants.still():
            self.good(f"Grant {grant} is still open.")
        held = set(self.holds.begun.values())
        for copy in self.copies.still():
            how = "is still alive"
            if copy in self.condemned:
                how = "is condemned and held by law" if copy in held else "is not destroyed yet"
            self.good(f"Copy {copy} {how}.")
        return self.copies.still()

    def _check_authenticated(self) -> None:
        """The last word: what only the bundle's own keys vouch for is not authenticated."""
        if self.missing_keys:
            self.authenticated = False
            sound = all(finding.ok for finding in self.findings)
            verdict = "Self-consistent, not authenticated" if sound else "Not authenticated"
            self.bad(f"{verdict}: no key {', '.join(self.missing_keys)} was given from outside.")
