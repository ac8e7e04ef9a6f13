"""What a server's response means: an answer, a reason to ask again, a failure, or the end of asking."""

import json
import math
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from tradeschool.errors import did_you_mean
from tradeschool.policies.chat.config import BASE_URL, MODEL, OPENAI_HOST, OPENAI_KEY, OWN_KEY, Endpoint, RemoteError

LONGEST_QUOTE = 300
OF_THE_REQUEST = (400, 413, 414, 422)
"""Statuses that refuse one request, for example because its conversation is too long, and perhaps not the next."""
TRY_AGAIN = (408, 409, 425, 429)
"""Statuses below 500 that pass."""
NO_MONEY = ("insufficient_quota", "billing_hard_limit_reached")
"""Codes of a 429 that does not pass."""
MODELS_SHOWN = 8


class Again(Exception):
    """The request came to nothing, but may not the next time. ``after``: seconds that the server asks to wait."""

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


class Failed(Exception):
    """The request came to nothing; another one may not. The text is the reason."""


class UnknownModel(Exception):
    """The server may not have the model; the text is what it said."""


class Answer(NamedTuple):
    """A text, the tokens that ``usage`` tells, and whether it ended at the limit of tokens."""

    text: str
    prompt_tokens: int | None
    completion_tokens: int | None
    cut: bool


def read_response(status: int, headers: Mapping[str, str], body: bytes, where: Endpoint) -> Answer:
    """The answer that a response brings.

    Raises:
        Again: ask again later.
        Failed: this request is refused.
        UnknownModel: perhaps the model is not there.
        RemoteError: every request will be refused; the text says the cure.
    """
    if status == 200:
        return read_answer(body)
    said = quoted(body, where)
    reason = f"status {status}" + (f": {said}" if said else "")
    if status == 429 and any(code in body.decode("utf-8", "replace") for code in NO_MONEY):
        raise RemoteError(f"{where.url} is not paid for ({reason}). Look at the account's plan and limits.")
    if status in TRY_AGAIN or status >= 500:
        raise Again(reason, retry_after(headers))
    if status == 404 or (status in OF_THE_REQUEST and where.model in said):
        raise UnknownModel(reason)
    if status in OF_THE_REQUEST:
        raise Failed(reason)
    raise RemoteError(f"{where.url} refuses ({reason}). {_cure(status, headers, where)}")


def read_answer(body: bytes) -> Answer:
    """The first choice of a chat completion. Reasoning that the server parts from the answer is left out.

    Raises:
        Again: the body is no chat completion.
    """
    try:
        found = json.loads(body)
        choice = found["choices"][0]
        text = choice["message"].get("content")
        usage = found.get("usage") or {}
        prompt, completion = (_count(usage.get(f"{kind}_tokens")) for kind in ("prompt", "completion"))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise Again("an answer that is no chat completion") from error
    # None where a model only reasoned, or refused: an answer without a word.
    if text is not None and not isinstance(text, str):
        raise Again("an answer that is no chat completion")
    # JSON can say half of a surrogate pair, which no file and no later request could hold.
    text = (text or "").encode("utf-8", "replace").decode("utf-8")
    return Answer(text, prompt, completion, choice.get("finish_reason") == "length")


def unknown_model(where: Endpoint, models: list[str] | None, said: str) -> RemoteError | None:
    """The error of a model that is not among those listed (None: the server lists none); None where it is."""
    if models is None:
        near = "" if where.url.endswith("/v1") else f" Did you mean {where.url}/v1?"
        return RemoteError(
            f"{where.url} has no chat completions, or no model '{where.model}' ({said}).{near} "
            f"Check base_url and model, or {BASE_URL} and {MODEL}."
        )
    if where.model in models:
        return None
    more = f" and {len(models) - MODELS_SHOWN} more" if len(models) > MODELS_SHOWN else ""
    shown = quoted(", ".join(models[:MODELS_SHOWN]).encode("utf-8", "replace"), where) + more
    near = quoted(did_you_mean(where.model, models).encode("utf-8", "replace"), where)
    near = f" {near}" if near else ""
    return RemoteError(f"{where.url} has no model '{where.model}'.{near} It has: {shown or 'none'}. ({said})")


def read_models(body: bytes) -> list[str] | None:
    """The names that ``/models`` lists; None where it is no such list."""
    try:
        return [str(entry["id"]) for entry in json.loads(body)["data"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that Retry-After asks for, given as seconds or as a date (RFC 9110); None where it asks for nothing."""
    value = headers.get("retry-after", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def quoted(body: bytes, where: Endpoint) -> str:
    """What a server says is wrong, in one line of at most 300 characters, without the key."""
    text = body.decode("utf-8", "replace")
    try:
        found: Any = json.loads(text)
        for name in ("error", "detail", "message"):
            if isinstance(found, dict) and name in found:
                found = found[name]
        text = found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
    except (ValueError, RecursionError):
        # Not JSON: as it stands.
        pass
    # Hidden before it is cut short, which could leave half of a key.
    text = where.hide(" ".join("".join(letter if letter.isprintable() else " " for letter in text).split()))
    return text if len(text) <= LONGEST_QUOTE else text[:LONGEST_QUOTE] + "..."


def _cure(status: int, headers: Mapping[str, str], where: Endpoint) -> str:
    if 300 <= status < 400:
        target = quoted(headers.get("location", "?").encode(), where)
        return f"It sends on to {target}, where nothing was sent: if that is the server, give it as base_url."
    if status in (401, 403):
        if where.key is None:
            return (
                f"No key was sent: set {OWN_KEY}, and {BASE_URL} to this server if you trust it: the key goes there "
                f"alone. ({OPENAI_KEY} is sent to {OPENAI_HOST} alone.)"
            )
        return f"Check the key in {OWN_KEY}, or {OPENAI_KEY} for {OPENAI_HOST}."
    if status == 402:
        return "Look at the account's balance."
    return f"Check base_url or {BASE_URL}."


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
