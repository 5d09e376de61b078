"""Check a support-access broker's log or certificate offline: no network, no trust in its maker.

    python broker_verify.py BUNDLE --key KEYFILE [--checkpoint KEPT]... [--keep FILE]
    python broker_verify.py --certificate FILE --key KEYFILE

One file, written apart from the broker's own verifier; tests hold the two to one verdict.
What must stay true: keys come from outside; what only those in a bundle vouch for fails. Whatever
the bytes, the answer is sentences: exit 0 if all are good, 9 if one is not, 2 if the command can't
be meant. No bundle shows that nothing came after it: keep a checkpoint, give it with the next.
"""

from __future__ import annotations

import argparse
import binascii
import json
import re
import sys
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

T = TypeVar("T")
Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
CERTIFICATE_TYPE = "application/vnd.support-access-broker.destruction+json"
OVERLAP = timedelta(seconds=120)  # transactions overlap, so instants may step back by this much
_MAX_ENTRY_BYTES, _MAX_STATEMENT_BYTES = 65_535, 1024 * 1024
_SIGNATURE = re.compile(r"— ([^ +]+) ([A-Za-z0-9+/]+={0,2})")
_KIND = re.compile(r"[a-z_]+\.[a-z_]+")
_AT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
_GRANT, _COPY = ("Grant", "grant.ended"), ("Copy", "snapshot.destroyed")
_LIVES = dict.fromkeys(("grant.approved", "grant.ended"), _GRANT)  # what it is, what ends it
_LIVES |= dict.fromkeys(("snapshot.ordered", "snapshot.destroyed"), _COPY)
_BUNDLE = ("v", "origin", "entries", "openings", "checkpoints", "keys", "certificates")
_ENTRY = ("v", "kind", "at", "log", "nonce", "actor", "subject", "facts", "personal")


class Refused(Exception):
    """Something does not hold; the text says what."""


# JSON in its canonical form (RFC 8785) alone, without fractions, its strings in Unicode's NFC.
def read_json(data: bytes, limit: int | None = None) -> dict[str, Json]:
    """The object that these bytes are the canonical form of. Raises Refused."""
    if limit is not None and len(data) > limit:
        raise Refused(f"it has more than {limit} bytes")
    try:
        value: Json = json.loads(data.decode())
        again = write_json(value)
    except (ValueError, RecursionError):
        raise Refused("it is no JSON") from None
    if again != data:
        raise Refused("its JSON is not in the canonical form")
    _check_value(value)
    return take(dict, value)


def write_json(value: Json) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _check_value(value: Json, depth: int = 32) -> None:
    if depth == 0 or isinstance(value, float):
        raise Refused("its JSON is nested too deeply, or holds a fraction")
    if isinstance(value, str) and not unicodedata.is_normalized("NFC", value):
        raise Refused("a string is not in Unicode's NFC form")
    if isinstance(value, int) and abs(value) >= 2**53:
        raise Refused("a number is too large")
    if isinstance(value, dict):
        if [*value] != sorted(value, key=lambda key: key.encode("utf-16-be")):  # RFC 8785, 3.2.3
            raise Refused("keys are out of order")
        value = [*value, *value.values()]
    for item in value if isinstance(value, list) else ():
        _check_value(item, depth - 1)


def take(kind: type[T], value: Json) -> T:
    if not isinstance(value, kind):
        raise Refused(f"a {kind.__name__} is missing")
    return value


def fields_of(value: Json, names: Collection[str]) -> dict[str, Json]:
    if not isinstance(value, dict) or set(value) != set(names):
        raise Refused(f"an object has other fields than {', '.join(names)}")
    if "v" in names and (value["v"] != 1 or value["v"] is True):  # in Python, True equals 1
        raise Refused("it is not of version 1")
    return value


def a_name(value: Json) -> str:
    """A text that is not empty and may be shown on a terminal as it is."""
    if not (text := take(str, value)) or not text.isprintable():
        raise Refused("a name is empty, or can't be shown")
    return text


def bytes_of(value: Json, size: int | None = None) -> bytes:
    """Base64 in its one spelling, of `size` bytes."""
    text = take(str, value)
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except ValueError:  # binascii.Error is one
        raise Refused("something is not base64") from None
    if binascii.b2a_base64(data, newline=False).decode() != text or size not in {None, len(data)}:
        raise Refused("base64 has another length or spelling than is due")
    return data


# Keys, signed notes and checkpoints (C2SP: signed-note, tlog-checkpoint).
class Key(NamedTuple):
    """An Ed25519 key (0x01) with its name, for which alone it speaks; `hint` proves nothing."""

    name: str
    public: bytes

    @property
    def hint(self) -> str:
        encoded = self.name.encode() + b"\n\x01" + self.public
        return f"{self.name}+{sha256(encoded).hexdigest()[:8]}"

    def check(self, signature: bytes, message: bytes) -> None:
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except (InvalidSignature, ValueError):
            raise Refused(f"the signature by {self.hint} does not hold") from None


def read_key(text: str) -> Key:
    """`<name>+<8 hexadecimal digits>+<base64 of 0x01 and the key>`. Raises Refused."""
    name, identity, encoded = (*text.split("+", 2), "", "")[:3]  # base64 has + too
    blob = bytes_of(encoded, 33)
    key = Key(name, blob[1:])
    if blob[:1] != b"\x01" or " " in a_name(name) or key.hint != f"{name}+{identity}":
        raise Refused("a key's name, algorithm, id and bytes do not fit together")
    return key


def read_keys(text: str) -> list[Key]:
    """A trust file: a key a line; `#` begins a comment. Raises Refused."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [read_key(line) for line in lines if line]


def open_checkpoint(note: str, origin: str, keys: Sequence[Key]) -> tuple[int, bytes]:
    """Size and root of the log, as one of `keys` signed them; strangers' signatures are skipped."""
    if any(c != "\n" and unicodedata.category(c) in {"Cc", "Cs"} for c in note):
        raise Refused("it holds a control character")
    text, blank, tail = note.rpartition("\n\n")
    lines = tail.split("\n")
    if not blank or lines.pop() or not 1 <= len(lines) <= 16:
        raise Refused("it is no text with signatures")
    known = {key.hint: key for key in keys}
    if len(known) != len(set(keys)):
        raise Refused("two keys have one name and id")
    signed: set[Key] = set()
    for line in lines:
        match = _SIGNATURE.fullmatch(line)
        if match is None or not match[1].isprintable():
            raise Refused("a signature line is malformed")
        blob = bytes_of(match[2])
        key = known.get(f"{match[1]}+{blob[:4].hex()}")
        if len(blob) <= 4 or key in signed:
            raise Refused("a signature is empty, or stands there twice")
        if key is not None:
            key.check(blob[4:], f"{text}\n".encode())
            signed.add(key)
    if not signed:
        raise Refused("no key that counts has signed it")
    lines = text.split("\n")
    if len(lines) != 3 or lines[0] != origin or not re.fullmatch("0|[1-9][0-9]{0,15}", lines[1]):
        raise Refused("it is no checkpoint of this log: its name, its size and its root")
    return int(lines[1]), bytes_of(lines[2], 32)


def tree_roots(entries: Iterable[bytes], sizes: Collection[int]) -> dict[int, bytes]:
    """The root over the first n entries (RFC 6962, 2.1), for each n of `sizes` that they reach."""
    found = {0: sha256(b"").digest()}
    peaks: list[tuple[int, bytes]] = []  # (height, root) of each perfect subtree, highest first
    for count, entry in enumerate(entries, start=1):
        height, node = 0, sha256(b"\x00" + entry).digest()
        while peaks and peaks[-1][0] == height:
            node = sha256(b"\x01" + peaks.pop()[1] + node).digest()
            height += 1
        peaks.append((height, node))
        if count in sizes:
            for _, left in reversed(peaks[:-1]):
                node = sha256(b"\x01" + left + node).digest()
            found[count] = node
    return found


def open_certificate(data: bytes, keys: Iterable[Key]) -> tuple[dict[str, Json], Key]:
    """What a certificate (DSSE) says, and the key that signed it. Raises Refused."""
    document = read_json(data, 2 * _MAX_STATEMENT_BYTES)
    envelope = fields_of(document, ("payload", "payloadType", "signatures"))
    signatures = take(list, envelope["signatures"])
    if envelope["payloadType"] != CERTIFICATE_TYPE or len(signatures) != 1:
        raise Refused("it is no certificate with one signature")
    signature = fields_of(signatures[0], ("keyid", "sig"))
    key = next((key for key in keys if key.hint == signature["keyid"]), None)
    if key is None:
        raise Refused("no key that counts has signed it")
    kind, payload = CERTIFICATE_TYPE.encode(), bytes_of(envelope["payload"])
    message = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
    key.check(bytes_of(signature["sig"]), message)
    statement = read_json(payload, _MAX_STATEMENT_BYTES)
    if (statement.get("v"), statement.get("type")) != (1, "destruction") or statement["v"] is True:
        raise Refused("it does not speak of a destruction, in version 1")
    for name in ("certificate", "snapshot", "log"):
        a_name(statement.get(name))
    return statement, key


def statements_name(origin: str) -> str:
    return f"{origin.split('/', 1)[0]}/statements"  # one vendor speaks for its own logs


class Entry(NamedTuple):
    kind: str
    at: datetime
    actor: dict[str, Json]
    subject: str
    facts: dict[str, Json]
    personal: dict[str, bytes]
    nonce: bytes


def read_entry(data: bytes, origin: str) -> Entry:
    """One entry of the log `origin`. Raises Refused."""
    entry = fields_of(read_json(data, _MAX_ENTRY_BYTES), _ENTRY)
    kind, at, actor = take(str, entry["kind"]), take(str, entry["at"]), take(dict, entry["actor"])
    if not _KIND.fullmatch(kind) or not _AT.fullmatch(at) or set(actor) - {"id"} != {"side", "via"}:
        raise Refused("its kind, instant or actor is malformed")
    try:
        instant = datetime.fromisoformat(at)
    except ValueError:
        raise Refused(f"{at} is no instant") from None
    if a_name(entry["log"]) != origin or not all(isinstance(a, str) for a in actor.values()):
        raise Refused("it is of another log, or its actor is malformed")
    personal = {name: bytes_of(text, 32) for name, text in take(dict, entry["personal"]).items()}
    subject, facts, nonce = a_name(entry["subject"]), entry["facts"], bytes_of(entry["nonce"], 16)
    return Entry(kind, instant, actor, subject, take(dict, facts), personal, nonce)


def commitment(origin: str, nonce: bytes, field: str, salt: bytes, value: bytes) -> bytes:
    """What stands in an entry for a personal value; each part comes with its length."""
    log, name = origin.encode(), field.encode()
    *place, content = (len(x).to_bytes(8, "big") + x for x in (log, nonce, name, value))
    return sha256(b"broker/commit/v1\x00" + b"".join(place) + salt + content).digest()


class Report:
    """Sentences, each good or bad; `checkpoint` is the last note that holds."""

    def __init__(self) -> None:
        self.findings: list[tuple[bool, str]] = []
        self.checkpoint, self.ok = "", True

    def good(self, text: str) -> None:
        self.findings.append((True, text))

    def bad(self, text: str) -> None:
        self.ok = False
        self.findings.append((False, text))

    @contextmanager
    def naming(self, what: str) -> Iterator[None]:
        """What is refused inside is a finding about `what`, and the rest goes on."""
        try:
            yield
        except Refused as refusal:
            self.bad(f"{what} does not hold: {refusal}.")


def verify_certificate(data: bytes, trusted: Sequence[Key]) -> Report:
    report = Report()
    with report.naming("The certificate"):
        said, key = open_certificate(data, trusted)
        if key.name != statements_name(a_name(said["log"])):
            raise Refused("its signer does not speak for that log")
        what = f"Certificate {said['certificate']} for copy {said['snapshot']}"
        report.good(f"{what} is signed by {key.hint}.")
    return report


def verify_bundle(data: bytes, trusted: Sequence[Key], kept: Sequence[str] = ()) -> Report:
    """Check a bundle with keys from outside it; `kept` are checkpoints that its reader had."""
    report = Report()
    with report.naming("The bundle"):
        bundle = _Bundle(data, trusted, report)
        bundle.check_tree(kept)
        bundle.check_entries()
        bundle.check_openings()
        bundle.check_lives()
        bundle.check_certificates()
        if bundle.unvouched:  # the last word, for it depends on all the others
            verdict = "Self-consistent, not authenticated" if report.ok else "Unauthenticated"
            report.bad(f"{verdict}: no key {', '.join(bundle.unvouched)} was given from outside.")
    return report


class _Bundle:
    """The document, taken apart; each `check_` is one thing that must hold."""

    def __init__(self, data: bytes, trusted: Sequence[Key], report: Report) -> None:
        document = fields_of(read_json(data), _BUNDLE)
        self.report, self.trusted = report, trusted
        self.origin = a_name(document["origin"])
        self.raw = [bytes_of(item) for item in take(list, document["entries"])]
        self.openings = take(list, document["openings"])
        self.notes = [take(str, item) for item in take(list, document["checkpoints"])]
        self.envelopes = [bytes_of(item) for item in take(list, document["certificates"])]
        self.entries: dict[int, Entry] = {}  # by position; filled by check_entries
        self.said: dict[tuple[str, str], Entry] = {}  # the last of each kind on what it is about
        self.who: dict[tuple[str, str], set[Json]] = {}  # who did that
        self.unvouched: list[str] = []
        self.hinted = [read_key(take(str, item)) for item in take(list, document["keys"])]

    def keys(self, name: str) -> list[Key]:
        """Those given from outside; only where there is none, the bundle's own, noted as such."""
        trusted = [key for key in self.trusted if key.name == name]
        if not trusted:
            self.unvouched.append(name)
        return trusted or [key for key in self.hinted if key.name == name]

    def check_tree(self, kept: Sequence[str]) -> None:
        """The entries, hashed afresh, give the root that each checkpoint was signed over."""
        signed: list[tuple[str, int, bytes]] = []
        above, keys = -1, self.keys(self.origin)
        trusted = [key for key in self.trusted if key.name == self.origin]
        notes = [(f"Checkpoint {n}", note, keys) for n, note in enumerate(self.notes, start=1)]
        notes += [(f"Kept checkpoint {n}", note, trusted) for n, note in enumerate(kept, start=1)]
        for what, note, by in notes:
            with self.report.naming(what):
                size, root = open_checkpoint(note, self.origin, by)
                if what.startswith("Checkpoint"):
                    if size <= above:
                        raise Refused("it is not larger than the one before it")
                    above, self.report.checkpoint = size, note
                signed.append((what, size, root))
        roots = tree_roots(self.raw, {size for _, size, _ in signed})
        for what, size, root in signed:
            with self.report.naming(what):
                if roots.get(size) != root:
                    raise Refused(f"the first {size} entries are not those that were signed")
                if what.startswith("Kept"):
                    self.report.good(f"{what} holds: its {size} entries are here as you saw them.")
        self.report.good(f"{len(self.notes)} checkpoints were read, up to {max(above, 0)} entries.")
        if above != len(self.raw):
            self.report.bad(f"{max(above, 0)} entries are signed, {len(self.raw)} are here.")

    def check_entries(self) -> None:
        """Each entry is well-formed and of this log, and time does not run backwards."""
        latest = datetime.min.replace(tzinfo=UTC)
        for index, data in enumerate(self.raw):
            with self.report.naming(f"Entry {index}"):
                entry = self.entries[index] = read_entry(data, self.origin)
                behind, latest = latest - entry.at, max(latest, entry.at)
                if behind > OVERLAP:
                    raise Refused(f"it is dated {behind} before an earlier one")
                self._check_ground(entry)
        self.report.good(f"{len(self.entries)} entries of {self.origin} were read.")

    def _check_ground(self, e: Entry) -> None:
        """What nobody of the customer approved was approved in advance, or is break-glass."""
        kind, one = "standing" if e.kind.startswith("standing.") else e.kind, e.subject
        if kind == "policy.changed":
            one, self.said["policy", ""] = str(e.facts.get("version")), e
        elif kind == "review.owed":
            one = str(e.facts.get("grant"))
        self.said[kind, one] = e
        if kind != "approval.given" or e.actor["side"] == "vendor":
            self.who.setdefault((kind, one), set()).add(e.actor.get("id", ""))
        if kind == "grant.approved" and "break_glass" in e.facts:
            self._check_glass(e)
        elif kind == "grant.approved" and (e.actor["side"] != "tenant" or "standing" in e.facts):
            given = self.said.get(("standing", a_name(e.facts.get("standing"))))
            if given is None or given.kind != "standing.given":
                raise Refused("no standing approval in force explains it")
            ends, digest = (a_name(given.facts.get(name)) for name in ("ends_at", "digest"))
            if digest != e.facts.get("terms") or ends[:19] <= e.at.isoformat()[:19]:
                raise Refused("its standing approval was over, or had other terms")

    def _check_glass(self, e: Entry) -> None:
        """The customer allows it; two of the vendor who did not ask do it, and owe a review."""
        named = ("policy.changed", str(e.facts.get("policy")))
        policies = [self.said.get(key) for key in (("policy", ""), named)]
        if any(p is None or p.facts.get("break_glass") is not True for p in policies):
            raise Refused("no policy of the customer's allows break-glass")
        acts = ("approval.given", "grant.requested")
        yes, asked = (self.who.get((act, e.subject), {""}) for act in acts)
        if e.actor["side"] != "vendor" or len((yes | {e.actor.get("id", "")}) - asked - {""}) < 2:
            raise Refused("two people of the vendor, who did not ask, do not stand behind it")
        if ("review.owed", e.subject) not in self.said:
            raise Refused("no review of it is owed")

    def check_openings(self) -> None:
        """Each personal value is the one that was committed to. A missing one was erased."""
        seen: set[tuple[int, str]] = set()
        for number, item in enumerate(self.openings, start=1):
            with self.report.naming(f"Opening {number}"):
                opening = fields_of(item, ("index", "field", "salt", "value"))
                field, salt = take(str, opening["field"]), bytes_of(opening["salt"], 32)
                index, value = take(int, opening["index"]), write_json(opening["value"])
                entry, unfit = self.entries.get(index), (index, field) in seen or index is True
                if entry is None or unfit or len(value) > _MAX_ENTRY_BYTES:
                    raise Refused("it has no place in an entry")
                due = entry.personal.get(field)
                if commitment(self.origin, entry.nonce, field, salt, value) != due:
                    raise Refused(f"it is not what entry {index} committed to as {field!r}")
                seen.add((index, field))
        committed = sum(len(entry.personal) for entry in self.entries.values())
        self.report.good(f"{len(seen)} of {committed} personal values are given here.")

    def check_lives(self) -> None:
        """Nothing begins twice, ends twice or comes back; no copy goes while the law keeps it."""
        last: dict[tuple[str, str], str] = {}
        stands: dict[str, str] = {}  # how each copy stands that was condemned
        held: dict[str, Json] = {}  # by hold, the copy that it keeps
        for index, e in self.entries.items():
            if e.kind in _LIVES:
                noun, end = _LIVES[e.kind]
                if last.get((noun, e.subject)) in (e.kind, end):
                    self.report.bad(f"Entry {index}: {noun} {e.subject} begins or ends again.")
                last[noun, e.subject] = e.kind
            if e.kind == "snapshot.destroyed" and e.subject in held.values():
                self.report.bad(f"Entry {index}: a legal hold kept {e.subject}.")
            if e.kind == "hold.begun":
                held[e.subject] = e.facts.get("snapshot")
            elif e.kind == "hold.ended":
                held.pop(e.subject, None)
            elif e.kind in ("snapshot.condemned", "snapshot.destroyed"):
                stands[e.subject] = e.kind
        for noun, subject in (key for key, kind in last.items() if kind != _LIVES[kind][1]):
            self.report.good(f"{noun} {subject} has not ended yet.")
        for copy in sorted(copy for copy, kind in stands.items() if kind == "snapshot.condemned"):
            why = "held by law" if copy in held.values() else "not destroyed yet"
            self.report.good(f"Copy {copy} is condemned and {why}.")

    def check_certificates(self) -> None:
        """Each certificate stands in the log, and each that stands there is in the bundle."""
        issued = {i: e for i, e in self.entries.items() if e.kind == "certificate.issued"}
        destroyed = {e.subject for e in self.entries.values() if e.kind == "snapshot.destroyed"}
        keys = self.keys(statements_name(self.origin)) if issued else []
        files = {sha256(data).hexdigest(): data for data in self.envelopes}
        twice = len(self.envelopes) - len(files)
        seen: set[Json] = set()
        for index, entry in issued.items():
            with self.report.naming(f"The certificate of entry {index}"):
                data = files.pop(a_name(entry.facts.get("digest")), None)
                if data is None:
                    raise Refused("it is not in the bundle")
                said, _ = open_certificate(data, keys)
                name, copy = a_name(said["certificate"]), a_name(said["snapshot"])
                told = (entry.facts.get("certificate"), entry.facts.get("snapshot"))
                if (name, copy) != told or said["log"] != self.origin:
                    raise Refused("it speaks of something else than the entry does")
                if name in seen or copy not in destroyed:
                    raise Refused("it was issued twice, or no entry says the copy was destroyed")
                seen.add(name)
                self.report.good(f"Certificate {name} for copy {copy} is signed and in the log.")
        if files or twice:
            self.report.bad(f"{len(files)} certificates have no entry, {twice} are here twice.")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("broker_verify", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("file", type=Path, help="a bundle, or a certificate with --certificate")
    parser.add_argument("--certificate", action="store_true", help="the file is a certificate")
    parser.add_argument("--key", type=Path, action="append", default=[], help="keys you trust")
    parser.add_argument("--checkpoint", type=Path, action="append", default=[], help="one you kept")
    parser.add_argument("--keep", type=Path, help="write the last checkpoint into this new file")
    args = parser.parse_args(arguments)
    try:
        data = args.file.read_bytes()
        keys = [key for file in args.key for key in read_keys(file.read_text("utf-8"))]
        kept = [file.read_text("utf-8") for file in args.checkpoint]
    except (OSError, UnicodeDecodeError, Refused) as error:
        parser.error(str(error))
    report = verify_certificate(data, keys) if args.certificate else verify_bundle(data, keys, kept)
    for good, text in report.findings:
        sys.stdout.write(f"{'ok ' if good else 'BAD'}  {text}\n")
    sys.stdout.write(f"{args.file} {'verifies' if report.ok else 'DOES NOT VERIFY'}.\n")
    if report.ok and args.keep is not None and report.checkpoint:
        with args.keep.open("x", encoding="utf-8") as out:
            out.write(report.checkpoint)
    return 0 if report.ok else 9  # argparse itself exits with 2


if __name__ == "__main__":
    sys.exit(main())
