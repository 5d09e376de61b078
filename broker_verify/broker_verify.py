"""Check a support-access broker's log or certificate offline: no network, no trust in its maker.

    python broker_verify.py BUNDLE --key KEYFILE [--checkpoint KEPT]... [--keep FILE]
    python broker_verify.py --certificate FILE --key KEYFILE

Keys come from outside; what only those in a bundle vouch for fails. Whatever the bytes, the answer
is sentences: exit 0 if all are good, 9 if one is not, 2 if the command can't be meant. No bundle
shows that nothing came after it: keep a checkpoint, give it with the next.
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
from typing import BinaryIO, NamedTuple, TypeAlias, TypeVar

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
_LIVES = {"grant": ("approved", "ended"), "snapshot": ("ordered", "destroyed")}
write = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_ACTS = ("approval.given", "grant.requested")
_FURTHER = {
    b'{"hashes":': "What was pruned",
    b'{"stamp":': "A timestamp",
    b'{"blind":': "Its place",
}
_HEADER = ("v", "origin", "checkpoints", "keys")
_ENTRY = ("v", "kind", "at", "log", "nonce", "actor", "subject", "facts", "personal")


class Refused(Exception):
    """Something does not hold; the text says what. A ValueError of Python's says the same."""


def read_json(data: bytes, limit: int = 1 << 40) -> dict[str, Json]:
    """The object that these bytes are the canonical form of: RFC 8785, whole numbers, NFC."""
    value: Json = json.loads(data.decode())
    if len(data) > limit or write(value).encode() != data:
        raise Refused("its JSON is too long, or not in the canonical form")
    _check_value(value)
    return take(dict, value)


def _check_value(value: Json, depth: int = 32) -> None:
    if depth == 0 or isinstance(value, float) or (isinstance(value, int) and abs(value) >= 2**53):
        raise Refused("its JSON is nested too deeply, or holds a fraction or too large a number")
    if isinstance(value, str) and not (value.isascii() or unicodedata.is_normalized("NFC", value)):
        raise Refused("a string is not in Unicode's NFC form")
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


def fields_of(value: Json, names: Collection[str], version: int = 1) -> dict[str, Json]:
    if not isinstance(value, dict) or set(value) != set(names):
        raise Refused(f"an object has other fields than {', '.join(names)}")
    if "v" in names and (value["v"] != version or value["v"] is True):  # in Python, True equals 1
        raise Refused(f"it is not of version {version}")
    return value


def a_name(value: Json) -> str:
    """A text that is not empty and may be shown on a terminal as it is."""
    if not (text := take(str, value)) or not text.isprintable():
        raise Refused("a name is empty, or can't be shown")
    return text


def bytes_of(value: Json, size: int | None = None) -> bytes:
    """Base64 in its one spelling, of `size` bytes."""
    text = take(str, value)
    data = binascii.a2b_base64(text, strict_mode=True)
    if binascii.b2a_base64(data, newline=False).decode() != text or size not in {None, len(data)}:
        raise Refused("base64 has another length or spelling than is due")
    return data


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
    return [read_key(k) for line in text.splitlines() if (k := line.partition("#")[0].strip())]


def open_checkpoint(note: str, origin: str, keys: Sequence[Key]) -> tuple[int, bytes]:
    """Size and root in a C2SP signed note, as one of `keys` signed them; strangers are skipped."""
    if any(c != "\n" and unicodedata.category(c) in {"Cc", "Cs"} for c in note):
        raise Refused("it holds a control character")
    text, blank, tail = note.rpartition("\n\n")
    lines, known = tail.split("\n"), {key.hint: key for key in keys}
    if not blank or lines.pop() or not 1 <= len(lines) <= 16 or len(known) != len(set(keys)):
        raise Refused("it is no text with signatures, or two keys have one name and id")
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


class Tree:
    """A log as it grows (RFC 6962, 2.1): `peaks` are its whole subtrees, the largest first."""

    def __init__(self) -> None:
        self.size, self.peaks = 0, list[bytes]()

    def append(self, node: bytes) -> None:
        rest = self.size
        while rest & 1:  # each low 1 bit is a subtree that this leaf completes
            node, rest = sha256(b"\x01" + self.peaks.pop() + node).digest(), rest >> 1
        self.peaks.append(node)
        self.size += 1

    def root(self) -> bytes:
        node = self.peaks[-1] if self.peaks else sha256(b"").digest()
        for left in reversed(self.peaks[:-1]):
            node = sha256(b"\x01" + left + node).digest()
        return node


def open_certificate(data: bytes, keys: Iterable[Key]) -> tuple[str, str, str, Key]:
    """Its id, its copy's, its log's, and the key that signed it (DSSE). Raises Refused."""
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
    said = read_json(payload, _MAX_STATEMENT_BYTES)
    if (said.get("v"), said.get("type")) != (1, "destruction") or said["v"] is True:
        raise Refused("it does not speak of a destruction, in version 1")
    name, copy, log = (a_name(said.get(field)) for field in ("certificate", "snapshot", "log"))
    if key.name != statements_name(log):
        raise Refused("its signer does not speak for that log")
    return name, copy, log, key


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
    if a_name(entry["log"]) != origin or not all(isinstance(a, str) for a in actor.values()):
        raise Refused("it is of another log, or its actor is malformed")
    personal = {name: bytes_of(text, 32) for name, text in take(dict, entry["personal"]).items()}
    subject, facts = a_name(entry["subject"]), take(dict, entry["facts"])
    when, nonce = datetime.fromisoformat(at), bytes_of(entry["nonce"], 16)
    return Entry(kind, when, actor, subject, facts, personal, nonce)


def commitment(origin: str, nonce: bytes, field: str, salt: bytes, value: bytes) -> bytes:
    """What stands in an entry for a personal value; each part comes with its length."""
    log, name = origin.encode(), field.encode()
    *place, content = (len(x).to_bytes(8, "big") + x for x in (log, nonce, name, value))
    return sha256(b"broker/commit/v1\x00" + b"".join(place) + salt + content).digest()


class Report:
    """Sentences, each good or bad; `checkpoint` is the last note that holds."""

    def __init__(self) -> None:
        self.findings, self.checkpoint, self.ok = list[tuple[bool, str]](), "", True

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
        except (Refused, ValueError, RecursionError) as refusal:
            self.bad(f"{what} does not hold: {refusal}.")


def verify_certificate(data: bytes, trusted: Sequence[Key]) -> Report:
    with (report := Report()).naming("The certificate"):
        name, copy, _, key = open_certificate(data, trusted)
        report.good(f"Certificate {name} for copy {copy} is signed by {key.hint}.")
    return report


def verify_bundle(
    file: BinaryIO, trusted: Sequence[Key], kept: Sequence[str] = (), of: type[Bundle] | None = None
) -> Report:
    """Check a bundle with keys from outside it; `kept` are checkpoints that its reader had."""
    report = Report()
    with report.naming("The bundle"):
        bundle = (of or Bundle)(file, trusted, report)
        bundle.open_checkpoints(kept)
        bundle.read_lines(file)
        bundle.check_tree()
        if bundle.unvouched:  # the last word, for it depends on all the others
            verdict = "Self-consistent, not authenticated" if report.ok else "Unauthenticated"
            report.bad(f"{verdict}: no key {', '.join(bundle.unvouched)} was given from outside.")
    return report


class Bundle:
    """A bundle as it is read, a line at a time; each method looks at one thing that must hold."""

    def __init__(self, file: BinaryIO, trusted: Sequence[Key], report: Report) -> None:
        first = fields_of(read_json(file.readline()[:-1]), _HEADER, 2)
        self.report, self.trusted, self.origin = report, trusted, a_name(first["origin"])
        self.notes = [take(str, item) for item in take(list, first["checkpoints"])]
        self.hinted = [read_key(take(str, item)) for item in take(list, first["keys"])]
        self.tree, self.roots = Tree(), {0: Tree().root()}  # the roots that a checkpoint names
        self.unvouched, self.signed = set[str](), list[tuple[str, int, bytes]]()
        self.entry: Entry | None = None  # the last one, and the last field of it that was opened
        self.latest = datetime.min.replace(tzinfo=UTC)
        self.field, self.covered, self.committed, self.opened = "", -1, 0, 0
        self.said: dict[tuple[str, str], Entry] = {}  # the last on what may explain an approval
        self.who: dict[tuple[str, str], set[Json]] = {}  # who asked and who approved
        self.lives, self.held = dict[tuple[str, str], str](), dict[str, Json]()  # held: by hold
        self.issued: dict[str, Entry] = {}  # by digest, what was issued and not seen yet

    def keys(self, name: str) -> list[Key]:
        """Those given from outside; only where there is none, the bundle's own, noted as such."""
        trusted = [key for key in self.trusted if key.name == name]
        if not trusted:
            self.unvouched.add(name)
        return trusted or [key for key in self.hinted if key.name == name]

    def open_checkpoints(self, kept: Sequence[str]) -> None:
        """Those of the bundle, each larger than the one before; and those that its reader kept."""
        keys = self.keys(self.origin)
        trusted = [key for key in self.trusted if key.name == self.origin]
        notes = [(f"Checkpoint {n}", note, keys) for n, note in enumerate(self.notes, start=1)]
        notes += [(f"Kept checkpoint {n}", note, trusted) for n, note in enumerate(kept, start=1)]
        for what, note, by in notes:
            with self.report.naming(what):
                size, root = open_checkpoint(note, self.origin, by)
                if what.startswith("Checkpoint"):
                    if size <= self.covered:
                        raise Refused("it is not larger than the one before it")
                    self.covered, self.report.checkpoint = size, note
                self.signed.append((what, size, root))
                self.roots.setdefault(size, b"")

    def read_lines(self, file: BinaryIO) -> None:
        """Entries, each with what opens it; then certificates; then how many lines there were."""
        part, data = 0, b""
        for count, line in enumerate(file, start=1):
            data, above = line[:-1], data
            if line.startswith(b'{"lines":'):
                if line != b'{"lines":%d}\n' % count or file.read(1):
                    raise Refused(f"its last line does not count the {count} before it")
                return
            start = line[: line.find(b":") + 1]
            rank = {b'{"payload":': 1, b'{"stamp":': part or -1, b'{"blind":': 2}.get(start, 0)
            if rank < part:
                raise Refused("its parts are out of order")
            if start in _FURTHER:
                self.look_further(start, data, above)
            elif rank:
                with self.report.naming("A certificate"):
                    self.check_certificate(data)
            elif start == b'{"field":':
                self.check_opening(data)
            else:
                self.append(sha256(b"\x00" + data).digest())
                with self.report.naming(f"Entry {self.tree.size - 1}"):
                    self.check_entry(read_entry(data, self.origin))
            part = rank
        raise Refused("it was cut off")

    def append(self, leaf: bytes) -> None:
        self.tree.append(leaf)
        if self.tree.size in self.roots:
            self.roots[self.tree.size] = self.tree.root()
        self.entry, self.field = None, ""

    def look_further(self, start: bytes, _: bytes, __: bytes) -> None:
        """`verify_root.py`, beside this file, checks such lines, and all that this one does."""
        say = self.report.bad if start == b'{"hashes":' else self.report.good
        say(f"{_FURTHER[start]} is not looked at: verify_root.py does.")

    def check_tree(self) -> None:
        """The entries, hashed afresh, give the root that each checkpoint was signed over."""
        for what, size, root in self.signed:
            with self.report.naming(what):
                if self.roots.get(size) != root:
                    raise Refused(f"the first {size} entries are not those that were signed")
        if not self.notes or self.covered != self.tree.size:
            self.report.bad(f"{self.covered} entries are signed, {self.tree.size} are here.")
        if self.issued:
            self.report.bad(f"{len(self.issued)} certificates of the log are not in the bundle.")
        self.report.good(f"{self.opened} of {self.committed} personal values are given here.")
        for noun, one in (key for key, step in self.lives.items() if step == _LIVES[key[0]][0]):
            why = ", held by law" if one in self.held.values() else ""
            condemned = "destroyed yet" if ("snapshot.condemned", one) in self.said else "ended yet"
            self.report.good(f"{noun} {one} is not {condemned}{why}.")

    def check_entry(self, e: Entry) -> None:
        """Time does not run backwards, and what the entry says can follow on what was said."""
        self.entry, self.committed = e, self.committed + len(e.personal)
        behind, self.latest = self.latest - e.at, max(self.latest, e.at)
        if behind > OVERLAP:
            raise Refused(f"it is dated {behind} before an earlier one")
        if e.kind == "certificate.issued":
            if (digest := a_name(e.facts.get("digest"))) in self.issued:
                raise Refused("a certificate is issued twice")
            self.issued[digest] = e
        self.check_life(e)
        self._check_ground(e)

    def _check_ground(self, e: Entry) -> None:
        """What nobody of the customer approved was approved in advance, or is break-glass."""
        if e.kind.startswith("standing."):
            self.said["standing", e.subject] = e
        elif e.kind == "policy.changed":
            self.said["policy", ""] = self.said[e.kind, str(e.facts.get("version"))] = e
        elif e.kind == "review.owed":
            self.said[e.kind, str(e.facts.get("grant"))] = e
        elif e.kind == _ACTS[1] or (e.kind, e.actor["side"]) == (_ACTS[0], "vendor"):
            self.who.setdefault((e.kind, e.subject), set()).add(e.actor.get("id", ""))
        elif e.kind == "grant.approved" and "break_glass" in e.facts:
            self._check_glass(e)
        elif e.kind == "grant.approved" and (e.actor["side"] != "tenant" or "standing" in e.facts):
            given = self.said.get(("standing", a_name(e.facts.get("standing"))))
            if given is None or given.kind != "standing.given":
                raise Refused("no standing approval in force explains it")
            ends, digest = (a_name(given.facts.get(name)) for name in ("ends_at", "digest"))
            if digest != e.facts.get("terms") or ends[:19] <= e.at.isoformat()[:19]:
                raise Refused("its standing approval was over, or had other terms")

    def _check_glass(self, e: Entry) -> None:
        """The customer allows it; two of the vendor who did not ask do it, and owe a review."""
        named = (("policy", ""), ("policy.changed", str(e.facts.get("policy"))))
        policies = [self.said[key].facts for key in named if key in self.said]
        if [policy.get("break_glass") is True for policy in policies] != [True, True]:
            raise Refused("no policy of the customer's allows break-glass")
        yes, asked = (self.who.get((act, e.subject), {""}) for act in _ACTS)
        if e.actor["side"] != "vendor" or len((yes | {e.actor.get("id", "")}) - asked - {""}) < 2:
            raise Refused("two people of the vendor, who did not ask, do not stand behind it")
        if ("review.owed", e.subject) not in self.said:
            raise Refused("no review of it is owed")

    def check_opening(self, line: bytes) -> None:
        """A personal value is the one that was committed to. A missing one was erased."""
        opening = fields_of(read_json(line, 2 * _MAX_ENTRY_BYTES), ("field", "salt", "value"))
        field, salt = take(str, opening["field"]), bytes_of(opening["salt"], 32)
        if field <= self.field or not self.tree.size:
            raise Refused("openings are out of order, or one stands there twice")
        self.field = field
        with self.report.naming(f"The opening of {field!r} in entry {self.tree.size - 1}"):
            e, value = self.entry, write(opening["value"]).encode()
            if e is None or field not in e.personal or len(value) > _MAX_ENTRY_BYTES:
                raise Refused("it has no place there")
            if commitment(self.origin, e.nonce, field, salt, value) != e.personal[field]:
                raise Refused("it is not what was committed to")
            self.opened += 1

    def check_life(self, e: Entry) -> None:
        """Nothing begins twice, ends twice or comes back; no copy goes while the law keeps it."""
        noun, _, step = e.kind.partition(".")
        if e.kind in {"hold.begun", "hold.ended"}:
            self.held[e.subject] = e.facts.get("snapshot") if step == "begun" else None
        elif e.kind == "snapshot.condemned":
            self.said[e.kind, e.subject] = e
        elif step in _LIVES.get(noun, ()):
            before, self.lives[noun, e.subject] = self.lives.get((noun, e.subject)), step
            if before in (step, _LIVES[noun][1]):
                raise Refused(f"{noun} {e.subject} begins or ends again")
            if step == "destroyed" and e.subject in self.held.values():
                raise Refused(f"a legal hold kept {e.subject}")

    def check_certificate(self, data: bytes) -> None:
        """It stands in the log, which says the same, and that its copy was destroyed."""
        e = self.issued.pop(sha256(data).hexdigest(), None)
        if e is None:
            raise Refused("no entry of the log names it, or it is here twice")
        name, copy, log, _ = open_certificate(data, self.keys(statements_name(self.origin)))
        told = (e.facts.get("certificate"), e.facts.get("snapshot"), self.origin)
        if (name, copy, log) != told or ("certificate", name) in self.said:
            raise Refused("the entry speaks of something else, or it was issued twice")
        if self.lives.get(("snapshot", copy)) != "destroyed":
            raise Refused("no entry says that the copy was destroyed")
        self.said["certificate", name] = e
        self.report.good(f"Certificate {name} for copy {copy} is signed and in the log.")


def main(arguments: Sequence[str] | None = None, of: type[Bundle] = Bundle) -> int:
    parser = argparse.ArgumentParser("broker_verify", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("file", type=Path, help="a bundle, or a certificate with --certificate")
    parser.add_argument("--certificate", action="store_true", help="the file is a certificate")
    parser.add_argument("--key", type=Path, action="append", default=[], help="keys you trust")
    parser.add_argument("--checkpoint", type=Path, action="append", default=[], help="one you kept")
    parser.add_argument("--keep", type=Path, help="write the last checkpoint into this new file")
    args = parser.parse_args(arguments)
    try:
        keys = [key for file in args.key for key in read_keys(file.read_text("utf-8"))]
        kept = [file.read_text("utf-8") for file in args.checkpoint]
        with args.file.open("rb") as data:
            alone = args.certificate and verify_certificate(data.read(), keys)
            report = alone or verify_bundle(data, keys, kept, of)
    except (OSError, ValueError, Refused) as error:
        parser.error(str(error))
    for good, text in report.findings:
        sys.stdout.write(f"{'ok ' if good else 'BAD'}  {text}\n")
    sys.stdout.write(f"{args.file} {'verifies' if report.ok else 'DOES NOT VERIFY'}.\n")
    if report.ok and args.keep is not None and report.checkpoint:
        with args.keep.open("x", encoding="utf-8") as out:
            out.write(report.checkpoint)
    return 0 if report.ok else 9  # argparse itself exits with 2


if __name__ == "__main__":
    sys.exit(main())
