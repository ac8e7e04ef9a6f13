"""The did-you-mean of error texts, and errors that are the machine's and not the program's."""

import errno
import urllib.error
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradeschool import errors
from tradeschool.errors import RecipeError, RunError, did_you_mean, machine_error


@pytest.mark.parametrize(
    ("word", "expected"),
    [("lerning_rate", "learning_rate"), ("STEPS", "steps"), ("stpes", "steps"), ("beta ", "beta")],
)
def test_the_nearest_option_is_named(word: str, expected: str) -> None:
    assert did_you_mean(word, ["steps", "learning_rate", "beta"]) == f" Did you mean '{expected}'?"


def test_nothing_is_guessed_when_nothing_is_near() -> None:
    assert did_you_mean("zzz", ["steps", "beta"]) == ""
    assert did_you_mean("steps", []) == ""


@given(st.text(), st.lists(st.text(max_size=12), max_size=8))
def test_a_guess_is_always_one_of_the_options(word: str, options: list[str]) -> None:
    output = did_you_mean(word, options)
    assert output == "" or any(output == f" Did you mean '{option}'?" for option in options)


def test_every_error_can_be_caught_as_one() -> None:
    for error in (errors.DataError, errors.RecipeError, errors.RunError, errors.ParseError):
        assert issubclass(error, errors.TradeschoolError)


class OutOfMemoryError(RuntimeError):
    """As torch names it."""


class HfHubHTTPError(Exception):
    """As huggingface_hub names it."""


class SafetensorError(Exception):
    """As safetensors names it."""


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "/a/b"),
            "/a/b: the disk is full. Make room, then try again.",
        ),
        (SafetensorError("I/O error: No space left on device (os error 28)"), "/run: the disk is full"),
        (
            RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"),
            "/run: the disk is full",
        ),
        (OSError("1000000 requested and 191984 written"), "/run: the disk is full"),
        (PermissionError(errno.EACCES, "Permission denied", "/a"), "/a: permission denied. Change its permissions"),
        (OSError(errno.EROFS, "Read-only file system"), "/run: the disk is read-only"),
        (OSError(errno.EMFILE, "Too many open files"), "ulimit"),
        (MemoryError(), "The memory is not enough"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "The memory is not enough"),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), "The memory is not enough: CUDA"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes."), "model.lora"),
        (RuntimeError("DataLoader worker (pid 12) is killed by signal: Killed."), "The memory is not enough"),
        (ConnectionRefusedError(111, "Connection refused"), "The network failed: .*Check the connection"),
        (urllib.error.URLError("no host"), "The network failed"),
        (HfHubHTTPError("401 Client Error"), "The network failed: 401"),
        (ModuleNotFoundError("No module named 'openai'", name="openai"), r"pip install 'tradeschool\[remote\]'"),
        (ModuleNotFoundError("No module named 'wandb.sdk'", name="wandb.sdk"), "pip install wandb$"),
        (ImportError("You need to install `lomo_optim`."), "lomo_optim"),
    ],
)
def test_what_the_machine_lacks_is_an_error_with_its_cure(error: Exception, words: str) -> None:
    found = machine_error(error, Path("/run"))
    assert isinstance(found, RunError)
    assert "\n" not in str(found)
    with pytest.raises(RunError, match=words):
        raise found


@pytest.mark.parametrize(
    "error",
    [
        ZeroDivisionError(),
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        FileNotFoundError(errno.ENOENT, "No such file or directory", "x"),
        ModuleNotFoundError("No module named 'tradeschool.x'", name="tradeschool.x"),
        BrokenPipeError(errno.EPIPE, "Broken pipe"),
        KeyboardInterrupt(),
        RecipeError("permission denied"),
    ],
)
def test_bugs_and_known_problems_stay_what_they_are(error: BaseException) -> None:
    assert machine_error(error) is None
