"""The page of guarantees is what the tests are now."""

from __future__ import annotations

from tests.faults.matrix import CELLS, FAULTS, NO_TEST
from tests.proofs import COMMAND, PAGE, ROOT, make_page, read_proof


def test_the_page_of_guarantees_is_current() -> None:
    assert PAGE.read_text() == make_page(), f"run: {COMMAND}"


def test_every_guarantee_has_a_file_that_states_it_and_a_case() -> None:
    files = sorted((ROOT / "tests/guarantees").glob("test_g*.py"))
    numbers = [int(path.name[6:8]) for path in files]
    assert numbers == list(range(1, 15))
    for number, path in zip(numbers, files, strict=True):
        proof = read_proof(path)
        assert proof.stands_for.startswith(f"G{number}. "), path.name
        assert proof.cases, path.name


def test_each_place_has_a_cell_for_each_fault_and_each_test_that_is_named_exists() -> None:
    for place, cells in CELLS.items():
        assert set(cells) == set(FAULTS), place
        for fault, told in cells.items():
            if told.startswith(NO_TEST):
                continue
            path, _, name = told.partition("::")
            assert f"def {name}(" in (ROOT / path).read_text(), (place, fault)


def test_a_fault_that_a_parametrised_test_stands_for_is_one_of_its_cases() -> None:
    """In the files of the matrix, which name their cases as the matrix names its faults."""
    for cells in CELLS.values():
        for fault, told in cells.items():
            path = told.partition("::")[0]
            if "faults/test_faults_of_" in path and told.split("::")[1] in _shared(cells):
                assert f'{fault}"' in (ROOT / path).read_text(), (path, fault)


def _shared(cells: dict[str, str]) -> set[str]:
    """Tests that stand for several faults of a place."""
    named = [told.partition("::")[2] for told in cells.values()]
    return {name for name in named if named.count(name) > 1}
