"""What vouches for a log, held outside the broker: keys, pinned once and compared by a person, and
the last checkpoint that this reader saw.

`BROKER_HOME/trust/<origin>.keys` is a trust file: one verifier key a line. What must stay true: a
key is stored only for the names that it is asked for, and another key never takes the place of one
that is pinned without the person being told. `<origin>.checkpoint` is a note, trusted on first use:
it moves only to what was verified and contains it, so a log that forks or forgets is caught.
`<origin>.slot` is the log's one slot in the root log, which never changes; `<origin>.cosigner` the
key that cosigns the root log with ML-DSA-44: once it is pinned, no bundle passes without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from broker.audit.certified import statements_key_name
from broker.audit.cosigning import WitnessKey
from broker.audit.note import VerifierKey
from broker.audit.verify import load_trusted
from broker.cli.files import read_text, replace_file
from broker.errors import Conflict, Invalid, VerificationFailed


def parse_keys(texts: Sequence[str], origin: str) -> tuple[VerifierKey, ...]:
    """The keys of a log and of its vendor's statements alone. Raises VerificationFailed."""
    keys = tuple(VerifierKey.parse(text) for text in texts)
    names = {key.name for key in keys}
    if names != {origin, statements_key_name(origin)}:
        raise VerificationFailed(f"these are not the keys of {origin}, but of {sorted(names)}")
    return keys


def trust_file(home: Path, origin: str) -> Path:
    return home / "trust" / f"{quote(origin, safe='')}.keys"


def find_seen(home: Path, origin: str) -> str | None:
    """The last checkpoint of this log that was verified here."""
    file = _seen_file(home, origin)
    return read_text(file) if file.exists() else None


def remember_seen(home: Path, origin: str, note: str) -> None:
    """Call it only with the last checkpoint of a bundle that verified against `find_seen`."""
    replace_file(_seen_file(home, origin), note.encode())


def _seen_file(home: Path, origin: str) -> Path:
    return home / "trust" / f"{quote(origin, safe='')}.checkpoint"


def find_pinned(home: Path, origin: str) -> tuple[VerifierKey, ...]:
    file = trust_file(home, origin)
    return load_trusted(read_text(file)) if file.exists() else ()


def pin(home: Path, origin: str, keys: Sequence[VerifierKey], *, replace: bool) -> Path:
    """Store the keys. Raises Conflict when others are pinned and `replace` was not asked."""
    pinned = find_pinned(home, origin)
    if pinned and set(pinned) != set(keys) and not replace:
        raise Conflict(
            f"other keys are pinned for {origin}: a changed key needs a reason that you heard from "
            "the vendor by another way",
            **{"try": "broker tenants pin TENANT --replace"},
        )
    file = trust_file(home, origin)
    replace_file(file, "".join(f"{key.format()}\n" for key in keys).encode())
    return file


def find_slot(home: Path, origin: str) -> tuple[int, str] | None:
    """The slot that was told when the keys were pinned, and the digest of its key."""
    file = _slot_file(home, origin)
    if not file.exists():
        return None
    number, _, digest = read_text(file).strip().partition(" ")
    if not (number.isascii() and number.isdigit() and len(digest) == 64):
        raise Invalid(f"{file} holds no slot; pin the keys again: broker tenants pin TENANT")
    return int(number), digest


def pin_slot(home: Path, origin: str, slot: tuple[int, str]) -> None:
    """A slot is given once and for good: another one is a fork. Raises Conflict."""
    pinned = find_slot(home, origin)
    if pinned is not None and pinned != slot:
        raise Conflict(
            f"{origin} has slot {pinned[0]} of the root log, and is said to have {slot[0]} now, or "
            "another key: a slot never changes, so this is a fork; keep what you have"
        )
    replace_file(_slot_file(home, origin), f"{slot[0]} {slot[1]}\n".encode())


def find_cosigner(home: Path, origin: str) -> tuple[WitnessKey, ...]:
    """The key that must have cosigned the root log with ML-DSA-44, if one was pinned."""
    file = _cosigner_file(home, origin)
    return load_witnesses(file) if file.exists() else ()


def pin_cosigner(home: Path, origin: str, text: str, *, replace: bool) -> WitnessKey:
    """Raises Conflict when another is pinned, VerificationFailed."""
    key = WitnessKey.parse(text)
    if find_cosigner(home, origin) not in {(), (key,)} and not replace:
        raise Conflict(
            f"another key of ML-DSA-44 is pinned for {origin}: ask the vendor by another way why",
            **{"try": "broker tenants pin TENANT --replace"},
        )
    replace_file(_cosigner_file(home, origin), f"{key.format()}\n".encode())
    return key


def _cosigner_file(home: Path, origin: str) -> Path:
    return home / "trust" / f"{quote(origin, safe='')}.cosigner"


def _slot_file(home: Path, origin: str) -> Path:
    return home / "trust" / f"{quote(origin, safe='')}.slot"


def list_pinned(home: Path) -> tuple[VerifierKey, ...]:
    """All pinned keys: each speaks only for the logs of its name."""
    files = sorted((home / "trust").glob("*.keys"))
    return tuple(dict.fromkeys(key for file in files for key in load_trusted(read_text(file))))


def load_keys(files: Sequence[Path], home: Path) -> tuple[VerifierKey, ...]:
    """From the named files; where none is named, what was pinned."""
    if not files:
        return list_pinned(home)
    return tuple(dict.fromkeys(key for file in files for key in load_trusted(read_text(file))))


def load_witnesses(file: Path) -> tuple[WitnessKey, ...]:
    """Read a file of witnesses' keys: one a line; `#` begins a comment. Raises
    VerificationFailed.
    """
    lines = (line.partition("#")[0].strip() for line in read_text(file).splitlines())
    return tuple(WitnessKey.parse(line) for line in lines if line)
