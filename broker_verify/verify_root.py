"""Check a bundle whole: also its place in the root log, the log of all logs, and what was pruned.

    python verify_root.py BUNDLE --key KEYFILE [--checkpoint KEPT]... [--keep FILE]
        [--witness KEYFILE]... [--slot NUMBER:SHA256] [--promise DECISION]...

Checks all that `broker_verify.py` does, which must lie beside this file, as `verify_decision.py`
must. A signed decision that you hold promised to be in the log by an instant: `--promise` sees
whether it is, so that a decision can't be lost on the way. An entry that was pruned
left its hash; the log must say so, and nothing younger than half a year may be gone. A timestamp
(RFC 3161) must be the one that the log names; the time in it needs a library: `broker log verify`
checks it, and `openssl ts -verify` does.

The root log's epochs are trees of 16,384 slots. A slot's leaf is a keyed digest of the epoch's
number and the checkpoint's text; the key is in the bundle, and in nobody else's. What it proves:
the checkpoint that you hold is the one that this log had when that epoch was sealed, for everybody.
Compare the root log's checkpoint with another reader's, or have a witness sign it, and no log can
have two faces.
"""

from __future__ import annotations

import argparse
import hmac
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

if TYPE_CHECKING:  # a checker sees the folder as a package, Python the two files side by side
    from broker_verify import broker_verify as base
    from broker_verify import verify_decision as decisions
else:
    import verify_decision as decisions

    import broker_verify as base

SLOTS = 1 << 14
RUN = 256 * 32  # bytes of hashes in a line at most
KEPT = timedelta(days=180)  # an entry that is younger can't be pruned
_FIELDS = ("blind", "checkpoint", "entry", "hashes", "proof", "size", "slot")


def check_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root that a proof leads to (RFC 9162, 2.1.3.2). Raises ValueError."""
    if not 0 <= index < size:
        raise ValueError("there is no such place in the tree")
    node, last = leaf, size - 1
    for sibling in path:
        if last == 0:
            raise ValueError("the proof is too long")
        if index & 1 or index == last:
            node = sha256(b"\x01" + sibling + node).digest()
            while index and not index & 1:
                index, last = index >> 1, last >> 1
        else:
            node = sha256(b"\x01" + node + sibling).digest()
        index, last = index >> 1, last >> 1
    if last:
        raise ValueError("the proof is too short")
    return node


def check_cosignature(note: str, key: str) -> str:
    """The name of a witness, `<name>+<key id>+<base64>`, that cosigned a note (C2SP
    tlog-cosignature, Ed25519 or ML-DSA-44). Raises Refused or ValueError.
    """
    name, identity, encoded = (*key.split("+", 2), "", "")[:3]  # base64 has + too
    blob = base.bytes_of(encoded)
    known = sha256(base.a_name(name).encode() + b"\n" + blob).digest()[:4]
    if (blob[:1], len(blob)) not in {(b"\x04", 33), (b"\x06", 1313)} or known.hex() != identity:
        raise base.Refused("this is no key of a witness")
    text, _, tail = note.rpartition("\n\n")
    for line in tail.splitlines():
        signature = base.bytes_of(line.rpartition(" ")[2])
        if line.startswith(f"— {name} ") and signature[:4] == known:
            check_witness(name, blob, signature[4:], text)
            return name
    raise base.Refused(f"{name} has not cosigned it")


def check_witness(name: str, key: bytes, signature: bytes, text: str) -> None:
    """`key` begins with its algorithm, `signature` with its instant."""
    at, signature = signature[:8], signature[8:]
    if key[:1] == b"\x04":
        message = f"cosignature/v1\ntime {int.from_bytes(at, 'big')}\n{text}\n".encode()
        base.Key(name, key[1:]).check(signature, message)
        return
    origin, size, root = text.split("\n")
    said = [bytes([len(one)]) + one for one in (name.encode(), origin.encode())]
    message = b"subtree/v1\n\0" + said[0] + at + said[1] + bytes(8) + int(size).to_bytes(8, "big")
    try:
        public = MLDSA44PublicKey.from_public_bytes(key[1:])
        public.verify(signature, message + base.bytes_of(root, 32))
    except InvalidSignature:
        raise base.Refused(f"the cosignature by {name} does not hold") from None


def check_place(
    line: bytes, origin: str, notes: dict[int, str], keys: Sequence[base.Key]
) -> tuple[int, int]:
    """Slot and epoch of the checkpoint, one of `notes` by size, that `line` speaks of.

    `keys` are those of the log: the same key signs the root log, under that log's name. Raises
    Refused or ValueError.
    """
    place = base.fields_of(base.read_json(line), _FIELDS)
    slot, size = (base.take(int, place[name]) for name in ("slot", "size"))
    hashes, proof = (
        [base.bytes_of(x, 32) for x in base.take(list, place[n])] for n in _FIELDS[3:5]
    )
    if size not in notes or True in (slot is True, size is True) or len(proof) > 64:
        raise ValueError("the checkpoint that it speaks of is not here")
    name = f"{origin.split('/', 1)[0]}/root"
    renamed = [base.Key(name, key.public) for key in keys]
    count, root = base.open_checkpoint(base.take(str, place["checkpoint"]), name, renamed)
    data = base.bytes_of(place["entry"])
    entry = base.read_entry(data, name)
    epoch = base.take(int, entry.facts.get("epoch"))
    if entry.kind != "epoch.sealed" or epoch is True or entry.facts.get("slots") != SLOTS:
        raise ValueError("its entry is no epoch of this root log")
    if check_inclusion(sha256(b"\x00" + data).digest(), epoch, count, proof) != root:
        raise ValueError("its epoch is not in the root log that was signed")
    text = notes[size].rpartition("\n\n")[0].encode() + b"\n"
    said = hmac.digest(base.bytes_of(place["blind"], 32), epoch.to_bytes(8, "big") + text, "sha256")
    leaf = sha256(b"\x00broker/slot/v1\x00" + slot.to_bytes(8, "big") + said).digest()
    if check_inclusion(leaf, slot, SLOTS, hashes) != base.bytes_of(entry.facts.get("root"), 32):
        raise ValueError("the checkpoint does not stand in this slot of its epoch")
    return slot, epoch


class Placed(base.Bundle):
    """A bundle of which everything is looked at that needs no other library. `witnesses` must have
    cosigned the root log; `told` is the slot that its reader was told, and its key's SHA-256.
    """

    witnesses: Sequence[str] = ()
    promised: Sequence[bytes] = ()  # signed decisions that the reader holds
    told: tuple[int, str] | None = None
    root_note = ""  # the root log's checkpoint in the last place
    slots: frozenset[base.Json] = frozenset()
    places = run = gone = until = 0  # `gone` entries were pruned, the last before `until`
    after: base.Entry | None = None  # the entry at `until`
    pruned: base.Entry | None = None  # the last that says what was pruned

    def __init__(self, file: BinaryIO, trusted: Sequence[base.Key], report: base.Report) -> None:
        super().__init__(file, trusted, report)
        self.stamps: dict[str, str] = {}  # by a certificate's digest, that of its timestamp
        self.stamped: dict[str, base.Json] = {}  # by a certificate's id, the same as logged
        self.digests: dict[str, str] = {}  # of certificates, by id
        self.acts: set[tuple[str, datetime]] = set()  # on grants
        self.decided: dict[str, base.Json] = {}  # by a decision, its statement's digest

    def check_entry(self, e: base.Entry) -> None:
        self.run = 0
        if self.tree.size == self.until + 1:
            self.after = e
        super().check_entry(e)
        if e.kind == "slot.assigned":
            self.slots |= {str(e.facts.get("slot"))}
        elif e.kind == "log.pruned":
            self.pruned = e
        elif e.kind == "certificate.stamped":
            self.stamped[e.subject] = e.facts.get("digest")
        elif e.kind == "certificate.issued":
            self.digests[e.subject] = str(e.facts.get("digest"))
        elif e.kind == "decision.signed":
            self.decided[e.subject] = e.facts.get("digest")
        elif e.subject.startswith("grt_"):
            self.acts.add((e.subject, e.at))

    def look_further(self, start: bytes, line: bytes, above: bytes) -> None:
        if start == b'{"hashes":':
            self.skip_pruned(line)
        elif start == b'{"stamp":':
            self.check_stamp(line, above)
        else:
            self.places += 1
            if self.places > 2:
                raise base.Refused("it has more than two places in the root log")
            self.check_place(line)

    def skip_pruned(self, line: bytes) -> None:
        """Leaf hashes in place of entries that were pruned, 256 a line as far as they go."""
        hashes = base.bytes_of(base.fields_of(base.read_json(line), ("hashes",))["hashes"])
        if not 0 < len(hashes) <= RUN or len(hashes) % 32 or self.run not in {0, RUN}:
            raise base.Refused("hashes of pruned entries stand in another form")
        for at in range(0, len(hashes), 32):
            self.append(hashes[at : at + 32])
        self.run, self.gone = len(hashes), self.gone + len(hashes) // 32
        self.until, self.after = self.tree.size, None

    def check_tree(self) -> None:
        super().check_tree()
        for key in self.witnesses:
            with self.report.naming("The root log's checkpoint"):
                name = check_cosignature(self.root_note, key)
                self.report.good(f"{name} cosigned the root log.")
        for decision in self.promised:
            with self.report.naming("What a decision promised"):
                self.check_promise(decision)
        if self.gone:
            with self.report.naming(f"That {self.gone} entries are not here"):
                self.check_pruned()
        told = {self.digests.get(name, name): digest for name, digest in self.stamped.items()}
        if told != self.stamps:
            self.report.bad("The timestamps of certificates are not those that the log names.")

    def check_promise(self, data: bytes) -> None:
        """The log names the statement, and the act that it states, once that is due."""
        said = decisions.open_decision(data, self.trusted)
        at, promise = (base.take(dict, said.get(name)) for name in ("at", "promise"))
        name, decided = base.a_name(said["decision"]), base.take(str, at.get("decided"))
        due = datetime.fromisoformat(base.take(str, promise.get("log_by"))).astimezone(UTC)
        there = (said["grant"], datetime.fromisoformat(decided).astimezone(UTC)) in self.acts
        if said["log"] != self.origin:
            raise base.Refused("it is of another log")
        if self.decided.get(name, sha256(data).hexdigest()) != sha256(data).hexdigest():
            raise base.Refused(f"the log names another statement of {name}")
        if there and name in self.decided:
            self.report.good(f"{name} is in the log, as promised.")
        elif self.latest < due:
            self.report.good(f"{name} is promised by {due}; this log ends before.")
        else:
            raise base.Refused(f"{name} is not in the log: it was withheld")

    def check_pruned(self) -> None:
        """The log says so, and the entry that follows, so all before it, was old enough then."""
        until = self.pruned.facts.get("until") if self.pruned is not None else None
        if self.pruned is None or not isinstance(until, int) or until < self.until:
            raise base.Refused("the log does not say that they were pruned")
        if self.after is None or self.after.at > self.pruned.at - KEPT + base.OVERLAP:
            raise base.Refused("they were not half a year old")
        self.report.good(f"{self.gone} entries before entry {self.until} were pruned.")

    def check_stamp(self, line: bytes, above: bytes) -> None:
        """Of the certificate or place above it."""
        response = base.bytes_of(base.fields_of(base.read_json(line), ("stamp",))["stamp"])
        if not above.startswith((b'{"payload":', b'{"blind":')):
            raise base.Refused("a timestamp stands there twice, or below nothing")
        if above.startswith(b'{"payload":'):
            self.stamps[sha256(above).hexdigest()] = sha256(response).hexdigest()
        self.report.good("The time in a timestamp is not looked at: broker log verify does that.")

    def check_place(self, line: bytes) -> None:
        """In the one slot that its own log names, for good."""
        with self.report.naming("Its place in the root log"):
            sizes = {size: note for note in self.notes for size in self.size_of(note)}
            slot, epoch = check_place(line, self.origin, sizes, self.keys(self.origin))
            if self.slots != {str(slot)}:
                raise base.Refused("the log names another slot, or none, or more than one")
            place = base.read_json(line)
            digest = sha256(base.bytes_of(place["blind"])).hexdigest()
            if self.told not in {None, (slot, digest)}:
                raise base.Refused("it is not the slot that you were told: this is a fork")
            self.root_note = base.take(str, place["checkpoint"])
            self.report.good(f"It stands in slot {slot} of the root log's epoch {epoch}.")

    def size_of(self, note: str) -> list[int]:
        """Its size, once it is seen to be signed."""
        return [base.open_checkpoint(note, self.origin, self.keys(self.origin))[0]]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser("verify_root", add_help=False, allow_abbrev=False)
    parser.add_argument("--witness", type=Path, action="append", default=[])
    parser.add_argument("--promise", type=Path, action="append", default=[])
    parser.add_argument("--slot")
    args, rest = parser.parse_known_args(arguments)
    number, _, digest = (args.slot or "").partition(":")
    if args.slot is not None and not (number.isascii() and number.isdigit() and digest):
        parser.error("a slot is its number, a colon, and the SHA-256 of its key")

    try:
        lines = [line for file in args.witness for line in file.read_text("utf-8").splitlines()]
        held = [file.read_bytes() for file in args.promise]
    except (OSError, ValueError) as error:
        parser.error(str(error))
    keys = [key for line in lines if (key := line.partition("#")[0].strip())]

    class Asked(Placed):
        told = None if args.slot is None else (int(number), digest)
        witnesses = keys
        promised = held

    return base.main(rest, Asked)


if __name__ == "__main__":
    sys.exit(main())
