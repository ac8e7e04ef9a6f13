"""Errors that the user can fix, all with one base class; what the machine could not do, as such an error."""

import difflib
import errno
import os
from collections.abc import Iterable
from pathlib import Path

_SYSTEM = {
    errno.ENOSPC: "the disk is full. Make room",
    errno.EDQUOT: "your disk quota is used up. Make room",
    errno.EFBIG: "the file would be larger than is allowed there. Choose another place with --out",
    errno.EROFS: "the disk is read-only. Choose another place with --out",
    errno.EACCES: (denied := "permission denied. Change its permissions, or choose another place with --out"),
    errno.EPERM: denied,
    errno.EIO: "the disk reports an error. Check it, or choose another place with --out",
    errno.EMFILE: "too many files are open. Raise the limit (ulimit -n)",
    errno.ENAMETOOLONG: "the name is too long. Choose a shorter one",
}
"""System errors that no program can prevent, and their cures."""
_DISK_FULL = ("unexpected pos", "requested and")
"""How torch and numpy report a file that could not be written to its end; the other libraries quote the system."""
EXTRAS = {
    "bitsandbytes": "gpu", "bokeh_sampledata": "sample", "fastapi": "openenv", "mlflow": "track", "openai": "remote",
    "openenv": "openenv", "pandas_market_calendars": "data", "statsmodels": "forecast", "trackio": "track",
    "uvicorn": "openenv", "vllm": "vllm", "yfinance": "data",
}  # fmt: skip
"""Libraries that not every user needs, and the extra that installs them."""
_MEMORY = (
    "out of memory", "allocate memory", "CUBLAS_STATUS_ALLOC_FAILED", "DataLoader worker (pid", "abruptly",
)  # fmt: skip
"""A worker that exits unexpectedly or abruptly was usually killed for its memory."""
_NETWORK = {
    "ConnectionError", "TransportError", "URLError", "gaierror", "HfHubHTTPError", "LocalTokenNotFoundError",
    "CommError", "UsageError", "MlflowException",
}  # fmt: skip
"""Base classes of what requests, httpx, urllib, socket, huggingface_hub, wandb and mlflow raise."""


class TradeschoolError(Exception):
    """A problem that the user can fix. Its text names the value, the rule and the cure."""


class DataError(TradeschoolError):
    """Market data that breaks a rule. The text names file and row."""


class RecipeError(TradeschoolError):
    """A recipe or ``--set`` option that cannot be run as written."""


class RunError(TradeschoolError):
    """A run folder that cannot be read, resumed or compared."""


class ParseError(TradeschoolError):
    """A model's answer that cannot be read as an action. It is recorded in the trace, and nothing stops."""


def machine_error(error: BaseException, place: Path | None = None) -> TradeschoolError | None:
    """What the machine could not do, as an error with its cure; None for any other error.

    That is: too little memory, a disk that cannot be written, a network that fails, a library that is not installed.
    Libraries wrap such errors in classes of their own, so texts and names of classes are read too. ``place`` is named
    where the error itself names no file.
    """
    if isinstance(error, TradeschoolError | BrokenPipeError):  # after `| head` nobody reads our output: not an error
        return None
    text = one_line(error)
    if is_memory_error(error):
        return RunError(
            f"The memory is not enough: {text[:200]}. Close other programs, or need less: a smaller model, "
            "model.lora, fewer answers at a time (trl.per_device_train_batch_size with more "
            "trl.gradient_accumulation_steps, batch_size of an evaluation), or shorter ones."
        )
    if found := disk_error(error, place):
        return found
    if _NETWORK & {cls.__name__ for cls in type(error).__mro__}:
        return RunError(f"The network failed: {text[:300]}. Check the connection, the address and the login.")
    if isinstance(error, ImportError) and (error.name or "").partition(".")[0] != "tradeschool":
        if error.name is None or not isinstance(error, ModuleNotFoundError):
            return RunError(f"{text}. Install what is missing, then try again.")
        name = error.name.partition(".")[0]
        package = f"'tradeschool[{EXTRAS[name]}]'" if name in EXTRAS else name
        return RunError(f"{name} is not installed. Install it: pip install {package}")
    return None


def is_memory_error(error: BaseException) -> bool:
    """Whether a computation failed because the memory of the machine or of its GPU was not enough."""
    return isinstance(error, MemoryError) or any(sign in one_line(error) for sign in _MEMORY)


def disk_error(error: BaseException, place: Path | None = None) -> RunError | None:
    """A file that the system does not let us read or write, as an error with its cure; None for any other error."""
    text, number = one_line(error), getattr(error, "errno", None)
    if number not in _SYSTEM:
        named = (known for known in _SYSTEM if os.strerror(known) in text)
        number = errno.ENOSPC if any(sign in text for sign in _DISK_FULL) else next(named, None)
    if number is None:
        return None
    where = getattr(error, "filename", None) or place
    return RunError(f"{f'{where}: ' if where else ''}{_SYSTEM[number]}, then try again.")


def one_line(error: BaseException, most: int = 10_000) -> str:
    """The text of a library's error in one line of at most ``most`` characters, without the full stop at its end."""
    return " ".join(str(error).split())[:most].rstrip(".")


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """`` Did you mean 'x'?`` with the nearest option, or an empty string if none is near."""
    by_folded = {option.casefold(): option for option in options}
    near = difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.6)
    return f" Did you mean '{by_folded[near[0]]}'?" if near else ""
