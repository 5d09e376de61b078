"""Hash tiles: their paths, and that proofs made of them are those of the whole tree."""

from __future__ import annotations

import pytest

from broker.audit.merkle import (
    consistency_path,
    consistency_proof,
    inclusion_path,
    inclusion_proof,
    leaf_hash,
    root,
    verify_consistency,
    verify_inclusion,
)
from broker.audit.proof_text import Proof, format_proof, parse_proof, verify_proof
from broker.audit.tiles import (
    WIDTH,
    Place,
    Tile,
    count_hashes,
    fold,
    format_path,
    parse_path,
    places,
    range_root,
)
from broker.errors import Invalid, NotFound, VerificationFailed
from tests.audit.world import small_log

# Paths as C2SP tlog-tiles spells them; the first two are its own examples.
PATHS = [
    (Tile(0, 1_234_067, WIDTH), "0/x001/x234/067"),
    (Tile(1, 0, 5), "1/000.p/5"),
    (Tile(None, 999, WIDTH), "entries/999"),
    (Tile(None, 1000, 255), "entries/x001/000.p/255"),
    (Tile(6, 1_000_000_000, WIDTH), "6/x001/x000/x000/000"),
]
NO_PATHS = ["", "0", "0/1", "0/0001", "7/000", "0/x000/001", "0/001.p/0", "0/001.p/256"]
NO_PATHS += ["0/001.p/05", "0/001.p/", "-1/000", "0/٠٠١", "0/000/", "../000", "0/x1/000", "0/000\n"]


@pytest.mark.parametrize(("tile", "path"), PATHS)
def test_a_tile_has_one_path(tile: Tile, path: str) -> None:
    assert format_path(tile) == path
    assert parse_path(path) == tile


@pytest.mark.parametrize("path", NO_PATHS)
def test_no_other_spelling_is_a_path(path: str) -> None:
    with pytest.raises(NotFound):
        parse_path(path)


def make_tiles(leaves: list[bytes]) -> dict[Place, bytes]:
    tiles: dict[Place, bytes] = {}
    level, row = 0, leaves
    while row:
        parts = [row[at : at + WIDTH] for at in range(0, len(row), WIDTH)]
        tiles |= {Place(level, number): b"".join(part) for number, part in enumerate(parts)}
        level, row = level + 1, [fold(part) for part in parts if len(part) == WIDTH]
    return tiles


LEAVES = [leaf_hash(b"%d" % number) for number in range(WIDTH * WIDTH + 300)]
TILES = make_tiles(LEAVES)


def from_tiles(path: list[tuple[int, int]]) -> list[bytes]:
    tiles = {place: TILES[place] for place in places(path)}
    return [range_root(start, end, tiles) for start, end in path]


@pytest.mark.parametrize("size", [1, 2, 3, 255, 256, 257, 511, 513, 700])
def test_proofs_of_tiles_are_those_of_the_tree(size: int) -> None:
    for index in {0, 1, size // 2, size - 2, size - 1} & set(range(size)):
        assert from_tiles(inclusion_path(index, size)) == inclusion_proof(LEAVES, index, size)
        assert from_tiles(consistency_path(index, size)) == consistency_proof(LEAVES, index, size)


def test_proofs_of_a_log_with_three_levels_hold() -> None:
    size = len(LEAVES)
    top = root(LEAVES)
    for index in (0, 255, 256, 65_535, 65_536, size - 1):
        verify_inclusion(LEAVES[index], index, size, from_tiles(inclusion_path(index, size)), top)
    for old in (65_535, 65_536, 65_793):
        proof = from_tiles(consistency_path(old, size))
        verify_consistency(old, root(LEAVES[:old]), size, top, proof)
    assert len(places(inclusion_path(300, size))) <= 5
    assert [count_hashes(level, size) for level in range(4)] == [size, 257, 1, 0]


def test_a_tile_that_is_too_short_is_refused() -> None:
    with pytest.raises(Invalid, match="too short"):
        range_root(0, 4, {Place(0, 0): b"".join(LEAVES[:3])})


def test_one_entry_verifies_with_its_proof_alone_and_changed_nowhere() -> None:
    log = small_log()
    hashes = [leaf_hash(entry) for entry in log.entries]
    proof = Proof(2, log.entries[2], tuple(inclusion_proof(hashes, 2, 5)), log.notes[-1])
    text = format_proof(proof)
    assert parse_proof(text) == proof
    assert verify_proof(text, log.trusted)[1].kind == "snapshot.destroyed"
    with pytest.raises(VerificationFailed, match="from outside"):
        verify_proof(text, ())
    for place in range(len(text)):
        changed = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
        with pytest.raises(VerificationFailed):
            verify_proof(changed, log.trusted)
