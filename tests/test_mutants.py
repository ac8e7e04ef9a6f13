"""The list of defects to plant fits the code, and planting one says whether a test sees it."""

from pathlib import Path

import pytest
from mutants import ROOT, Mutant, MutantError, lives, main, mutants


def test_every_defect_still_has_its_place() -> None:
    listed = list(mutants([]))
    assert len(listed) > 200
    for mutant in listed:
        mutant.planted((ROOT / mutant.module).read_text(encoding="utf-8"))
        assert all((ROOT / path).exists() for path in mutant.tests)


def test_words_choose_modules() -> None:
    assert {mutant.module for mutant in mutants(["grading"])} == {"tradeschool/env/grading.py"}
    assert not list(mutants(["no such module"]))


def test_a_word_that_chooses_no_module_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["no such module"]) == 2
    assert "no module with defects has no such module in its path" in capsys.readouterr().out


def test_a_defect_without_a_place_is_refused() -> None:
    mutant = Mutant("m.py", "a + b", "a - b", (), (), ())
    assert mutant.planted("c = a + b\nd = a + b") == "c = a - b\nd = a + b"
    with pytest.raises(MutantError, match="nothing to replace"):
        mutant.planted("c = a - b")


@pytest.mark.parametrize(
    ("test", "living"),
    [
        ("assert LEAST_EQUITY < 1e-5", False),
        ("assert LEAST_EQUITY < 1", True),
        ("__import__('os').kill(__import__('os').getpid(), 11)", False),
    ],
)
def test_a_defect_lives_where_no_test_sees_it(tmp_path: Path, test: str, living: bool) -> None:
    path = tmp_path / "test_t.py"
    mutant = Mutant("tradeschool/env/grading.py", "LEAST_EQUITY = 1e-6", "LEAST_EQUITY = 1e-3", (str(path),), (), ())
    (tmp_path / "copy").mkdir()
    path.write_text(f"from tradeschool.env.grading import LEAST_EQUITY\n\n\ndef test() -> None:\n    {test}\n")
    assert lives(mutant, tmp_path / "copy") == living
