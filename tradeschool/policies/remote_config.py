"""A chat server's settings, which API key may be sent to it, and the file that keeps its answers."""

import hashlib
import ipaddress
import json
import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from tradeschool.config.check import Problem, check
from tradeschool.errors import TradeschoolError

BASE_URL, MODEL = "TRADESCHOOL_BASE_URL", "TRADESCHOOL_MODEL"
OWN_KEY, OPENAI_KEY = "TRADESCHOOL_API_KEY", "OPENAI_API_KEY"
OPENAI_HOST = "api.openai.com"
EXAMPLE_URL = "http://localhost:8000/v1"
KEY_NAME = re.compile(r"api.?key$|access.?token$|^(key|token|secret|password|authorization|bearer|headers)$", re.I)
"""What an API key might be called in a recipe."""
DEFAULT_REQUEST = {"max_tokens": 512, "temperature": 0}
MIN_SECRET_LENGTH = 12
"""Characters. A shorter key ("none", "local") is a placeholder for a server that needs no key."""
RESERVED = ("model", "messages", "stream", "n")
"""Fields of a request that a recipe cannot set."""
LINE_START = '{"key": "'
"""How every line of a file of answers begins."""
_NO_KEY = f"API keys are read from the environment only. Remove it and set {OWN_KEY}"


class RemoteError(TradeschoolError):
    """A chat server that cannot be used: wrong settings, a permanent refusal, or no answer at all."""


class ServerConfig(BaseModel):
    """Settings for one OpenAI-compatible chat server. The API key is not among them.

    Attributes:
        base_url: the server's address; TRADESCHOOL_BASE_URL by default.
        model: the model's name; TRADESCHOOL_MODEL by default.
        request: passed unchanged in every request; null removes a field.
        timeout: seconds to wait for the server.
        retries: how often a failed request is repeated.
        concurrency: requests that may be open at the same time.
        price_input, price_output: per million tokens.
        spending_limit: in the same currency.
        answers: a file that keeps every answer, so that an interrupted run resumes without paying twice.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: str = ""
    model: str = ""
    request: dict[str, Any] = Field(default_factory=dict, validate_default=True)
    timeout: float = Field(default=120.0, gt=0, le=3600)
    retries: int = Field(default=4, ge=0, le=20)
    concurrency: int = Field(default=8, ge=1, le=256)
    price_input: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    price_output: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    spending_limit: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    answers: Path | None = None

    @field_validator("base_url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        return checked_url(url) if url else url

    @field_validator("request")
    @classmethod
    def _check_request(cls, request: dict[str, Any]) -> dict[str, Any]:
        for name in request:
            if KEY_NAME.search(name):
                raise ValueError(f"contains '{name}'. {_NO_KEY}")
            if name in RESERVED:
                raise ValueError(f"sets '{name}', which is set automatically. Remove it")
        try:
            json.dumps(request, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError("contains a value that is not valid JSON. Use strings, finite numbers, lists") from error
        return {**DEFAULT_REQUEST, **request}

    @model_validator(mode="after")
    def _limit_needs_prices(self) -> "ServerConfig":
        if self.spending_limit is not None and not (self.price_input or self.price_output):
            raise ValueError("spending_limit needs price_input and price_output, per million tokens. Set them")
        return self

    @property
    def body(self) -> dict[str, Any]:
        """The fields of every request besides model and messages."""
        return {name: value for name, value in self.request.items() if value is not None}


def server_config(**settings: Any) -> ServerConfig:
    """A :class:`ServerConfig`. Errors never repeat a value that might be a key.

    Raises:
        RemoteError: a setting is unknown or invalid.
    """
    for name in settings:
        if KEY_NAME.search(name):
            raise RemoteError(f"The server settings contain '{name}'. {_NO_KEY}.")
    problems: list[Problem] = []
    config = check(ServerConfig, settings, (), problems)
    if config is None:
        faults = [f"{'.'.join(map(str, problem.keys))}: {problem.text}" for problem in problems]
        raise RemoteError(f"The server settings: {'; '.join(faults)}.")
    return config


@dataclass(frozen=True)
class Endpoint:
    """Where requests go: the address without a trailing slash, the model, and the API key, which prints as stars."""

    url: str
    model: str
    key: SecretStr | None

    @property
    def is_local(self) -> bool:
        """Whether the server is this machine, which needs no proxy."""
        return _is_local(self.url)

    def hide_key(self, text: str) -> str:
        """``text`` without the API key, in case the server repeated it."""
        return text.replace(self.key.get_secret_value(), "***") if self.key else text


def endpoint(config: ServerConfig, environ: Mapping[str, str] = os.environ) -> Endpoint:
    """The server, the model and the API key for a configuration.

    A recipe from someone else may name any server, so a key is sent only to a server that the environment trusts:
    TRADESCHOOL_API_KEY to the origin (scheme, host and port) of TRADESCHOOL_BASE_URL, or to this machine if that is
    not set; OPENAI_API_KEY to OpenAI. No key is sent over plain http beyond this machine.

    Raises:
        RemoteError: server or model are not named, or the key is malformed or may not be sent there.
    """
    given = environ.get(BASE_URL, "").strip()
    try:
        trusted = checked_url(given) if given else ""
    except ValueError as error:
        raise RemoteError(f"{BASE_URL} {error}.") from None
    url, model = config.base_url or trusted, config.model or environ.get(MODEL, "").strip()
    if not url:
        raise RemoteError(f"No chat server is named. Set base_url or {BASE_URL}, for example to {EXAMPLE_URL}.")
    if not model:
        raise RemoteError(f"No model is named. Set model or {MODEL}. {url}/models lists the server's models.")
    keys = {name: environ.get(name, "").strip() for name in (OWN_KEY, OPENAI_KEY)}
    settings = f"{url} {model} {json.dumps(config.request)}"
    for name, key in keys.items():
        if not all("!" <= letter <= "~" for letter in key):
            raise RemoteError(
                f"{name} contains a space or a character that no API key has. Set it again, without quotes."
            )
        # Before any error repeats the address, which may contain the key by mistake.
        if len(key) >= MIN_SECRET_LENGTH and key in settings:
            raise RemoteError(f"The server settings contain the API key. {_NO_KEY}.")
    sent = _key_for(url, keys, trusted)
    return Endpoint(url, model, SecretStr(keys[sent]) if sent else None)


def checked_url(url: str) -> str:
    """An address without a trailing slash.

    Raises:
        ValueError: it is not an address, or may contain a secret. The message does not repeat it.
    """
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and len(url.split()) == 1
    except ValueError:
        valid = False
    if not valid:
        raise ValueError(f"is not an http address. Write it like {EXAMPLE_URL}")
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ValueError(f"contains a user name, a password or a query. {_NO_KEY}. Write it like {EXAMPLE_URL}")
    return url.rstrip("/").removesuffix("/chat/completions")


def _key_for(url: str, keys: Mapping[str, str], trusted: str) -> str:
    """The name of the API key that may be sent to ``url``, "" for none; see :func:`endpoint`."""
    own = keys[OWN_KEY]
    if own and trusted and _origin(trusted) == _origin(url):
        name = OWN_KEY
    elif keys[OPENAI_KEY] and urlsplit(url).hostname == OPENAI_HOST:
        name = OPENAI_KEY
    elif not own or trusted:
        return ""
    elif _is_local(url):
        name = OWN_KEY
    else:
        raise RemoteError(
            f"{OWN_KEY} is not sent to {url}, which comes from the settings. If you trust that server, set {BASE_URL} "
            f"to it; otherwise unset {OWN_KEY}."
        )
    if urlsplit(url).scheme != "https" and not _is_local(url):
        raise RemoteError(f"{name} is not sent to {url}, because http is not encrypted. Use https, or unset {name}.")
    return name


def _origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port (RFC 6454)."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


class AnswerFile:
    """Keeps answers as JSON lines: ``key``, a hash of server and request, and ``answer``. It holds no prompts.

    The same request sent again within a run has another key: ten samples of a prompt are ten lines.

    Raises:
        RemoteError: the file cannot be written, or holds something else.
    """

    def __init__(self, path: Path) -> None:
        self.answers: dict[str, str] = {}
        self._path, self._sent = path, Counter[str]()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a+", encoding="utf-8", errors="replace") as file:
                file.seek(0)
                lines = file.read().splitlines()
        except OSError as error:
            raise self._unwritable(error) from error
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
                self.answers[str(row["key"])] = str(row["answer"])
            except (ValueError, KeyError, TypeError) as error:
                # A run that was killed may have left an incomplete line of ours.
                if not LINE_START.startswith(line[: len(LINE_START)]):
                    raise RemoteError(
                        f"{path}, line {number}: not a saved answer. Give a file of saved answers, or a new one."
                    ) from error

    def next_key(self, url: str, body: dict[str, Any]) -> str:
        """The key of a request that is about to be sent. Each call counts as sending it once."""
        digest = hashlib.sha256(json.dumps([url, body], sort_keys=True).encode()).hexdigest()[:32]
        self._sent[digest] += 1
        return f"{digest}-{self._sent[digest]}"

    def add(self, key: str, answer: str) -> None:
        """Save an answer."""
        self.answers[key] = answer
        try:
            with self._path.open("a", encoding="utf-8") as file:
                # The line break comes first, in case the last line is incomplete.
                file.write("\n" + json.dumps({"key": key, "answer": answer}))
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> RemoteError:
        return RemoteError(f"Answers cannot be saved in {self._path}: {error.strerror}. Give another file.")
