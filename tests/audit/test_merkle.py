"""The tree of a log: known answers, and agreement with RFC 6962's recursive definition."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.audit.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root,
    verify_consistency,
    verify_inclusion,
)
from broker.errors import Invalid, VerificationFailed

# The eight leaves and nine roots with which implementations of RFC 6962 are compared.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    bytes.fromhex(text)
    for text in (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    )
]
HASHES = [leaf_hash(leaf) for leaf in LEAVES]
MANY = [leaf_hash(b"%d" % number) for number in range(70)]
sizes = st.integers(0, len(MANY))


def reference_root(leaves: list[bytes]) -> bytes:
    """RFC 6962, 2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(
        b"\x01" + reference_root(leaves[:k]) + reference_root(leaves[k:])
    ).digest()


def test_the_roots_of_zero_to_eight_leaves_are_the_known_ones() -> None:
    assert [root(HASHES[:size]) for size in range(9)] == ROOTS


def test_proofs_are_the_known_ones() -> None:
    assert inclusion_proof(HASHES, 2, 3) == [ROOTS[2]]
    assert [item.hex() for item in consistency_proof(HASHES, 6, 8)] == [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]
    assert [item.hex() for item in consistency_proof(HASHES, 2, 5)] == [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ]


@given(sizes)
@settings(deadline=None)
def test_the_root_is_the_recursive_definitions(size: int) -> None:
    assert root(MANY[:size]) == reference_root(MANY[:size])


@given(sizes, sizes)
@settings(deadline=None)
def test_a_stored_frontier_goes_on_where_it_stopped(first: int, second: int) -> None:
    frontier = Frontier()
    for leaf in MANY[:first]:
        frontier.append(leaf)
    again = Frontier.load(frontier.size, tuple(frontier.hashes))
    for leaf in MANY[:second]:
        again.append(leaf)
    assert again.size == first + second
    assert again.root() == reference_root(MANY[:first] + MANY[:second])


def test_a_frontier_of_the_wrong_size_is_not_taken_up() -> None:
    for size, hashes in [(2, []), (3, [HASHES[0]]), (-1, [HASHES[0]]), (1, [b"short"])]:
        with pytest.raises(Invalid):
            Frontier.load(size, hashes)
    with pytest.raises(Invalid):
        Frontier().append(b"an entry, not its hash")


def test_every_leaf_is_proven_in_every_tree_and_nowhere_else() -> None:
    for size in range(1, 20):
        top = root(MANY[:size])
        for index in range(size):
            proof = inclusion_proof(MANY, index, size)
            verify_inclusion(MANY[index], index, size, proof, top)
            for wrong in set(range(size + 2)) - {index}:
                with pytest.raises(VerificationFailed):
                    verify_inclusion(MANY[index], wrong, size, proof, top)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_changed_inclusion_proof_is_refused(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, len(MANY)))
    index = data.draw(st.integers(0, size - 1))
    proof, top = inclusion_proof(MANY, index, size), root(MANY[:size])
    place = data.draw(st.integers(0, len(proof) - 1))
    swapped = [*proof[:place], node_hash(proof[place], proof[place]), *proof[place + 1 :]]
    for bad in (swapped, proof[:-1], [*proof, top], proof[:place] + proof[place + 1 :]):
        with pytest.raises(VerificationFailed):
            verify_inclusion(MANY[index], index, size, bad, top)
    with pytest.raises(VerificationFailed):
        verify_inclusion(MANY[index], index, size, proof, EMPTY_ROOT)


def test_every_tree_is_consistent_with_every_earlier_one_and_no_other() -> None:
    for size2 in range(1, 20):
        for size1 in range(size2 + 1):
            proof = consistency_proof(MANY, size1, size2)
            old, new = root(MANY[:size1]), root(MANY[:size2])
            verify_consistency(size1, old, size2, new, proof)
            forged = leaf_hash(b"forged")
            attempts = [(old, new, [*proof, forged]), (forged, new, proof)]
            if size1:  # an empty log is consistent with any
                attempts.append((old, forged, proof))
            if proof:
                attempts += [(old, new, proof[:-1]), (old, new, [forged, *proof[1:]])]
            for root1, root2, path in attempts:
                with pytest.raises(VerificationFailed):
                    verify_consistency(size1, root1, size2, root2, path)


def test_a_rewritten_past_has_no_consistency_proof() -> None:
    rewritten = [leaf_hash(b"rewritten"), *MANY[1:]]
    with pytest.raises(VerificationFailed):
        verify_consistency(
            5, root(MANY[:5]), 9, root(rewritten[:9]), consistency_proof(rewritten, 5, 9)
        )


def test_an_empty_log_is_accepted_with_an_empty_proof_only() -> None:
    verify_consistency(0, EMPTY_ROOT, 0, EMPTY_ROOT, [])
    verify_consistency(0, EMPTY_ROOT, 8, ROOTS[8], [])
    for size1, root1, size2, root2, proof in [
        (0, EMPTY_ROOT, 8, ROOTS[8], [ROOTS[4]]),
        (0, ROOTS[1], 8, ROOTS[8], []),
        (0, EMPTY_ROOT, 0, ROOTS[1], []),
        (8, ROOTS[8], 0, EMPTY_ROOT, []),
        (-1, ROOTS[1], 8, ROOTS[8], []),
    ]:
        with pytest.raises(VerificationFailed):
            verify_consistency(size1, root1, size2, root2, proof)


def test_a_hash_of_another_length_is_refused() -> None:
    """A boundary moved between two hashes gives the same input to SHA-256."""
    left, right = HASHES[0], HASHES[1]
    assert node_hash(left + right[:1], right[1:]) == node_hash(left, right)
    with pytest.raises(VerificationFailed, match="32"):
        verify_inclusion(left + right[:1], 0, 2, [right[1:]], ROOTS[2])
    with pytest.raises(VerificationFailed, match="32"):
        verify_consistency(1, left + right[:1], 2, ROOTS[2], [right[1:]])


def test_no_proof_is_made_outside_the_tree() -> None:
    for index, size in [(3, 3), (-1, 3), (0, 9), (0, 0)]:
        with pytest.raises(Invalid):
            inclusion_proof(HASHES, index, size)
    for size1, size2 in [(4, 3), (-1, 3), (0, 9)]:
        with pytest.raises(Invalid):
            consistency_proof(HASHES, size1, size2)
