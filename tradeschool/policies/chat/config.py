"""Which chat server is asked, how, how fast and at what price; where the key comes from."""

import ipaddress
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from tradeschool.checking import plain
from tradeschool.errors import TradeschoolError, did_you_mean

BASE_URL, MODEL = "TRADESCHOOL_BASE_URL", "TRADESCHOOL_MODEL"
OWN_KEY, OPENAI_KEY = "TRADESCHOOL_API_KEY", "OPENAI_API_KEY"
OPENAI_HOST = "api.openai.com"
EXAMPLE = "http://localhost:8000/v1"
KEY_NAMES = frozenset(
    {"key", "apikey", "token", "accesstoken", "secret", "password", "authorization", "bearer", "headers"}
)
"""What a key might be called in a recipe, without punctuation."""
USUAL = {"max_tokens": 512, "temperature": 0}
SHORTEST_SECRET = 12
"""Characters; what is shorter ("none", "local") is a word that a server without a key was given."""
OURS = ("model", "messages", "stream", "n")
"""Fields of a request that are not the recipe's to set."""


class RemoteError(TradeschoolError):
    """A chat server that cannot be asked: wrong settings, a refusal that no retry mends, or no answer at all."""


class ServerConfig(BaseModel):
    """How an OpenAI-compatible chat server is asked. The key is no setting: it comes from the environment alone.

    ``base_url`` and ``model`` may be left out where TRADESCHOOL_BASE_URL and TRADESCHOOL_MODEL are set. ``request``
    goes verbatim into every request; a value of null takes a field out. ``timeout`` is in seconds, for a whole
    answer; ``backoff`` the seconds before the first retry, doubled with each. ``at_once`` requests may be under way,
    ``requests_per_minute`` started, retries included. Prices are per million tokens, ``spending_limit`` in the same
    currency. ``answers`` is a file that keeps every answer, so that a run that was cut off goes on without paying
    twice.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: str = ""
    model: str = ""
    request: dict[str, Any] = Field(default_factory=dict, validate_default=True)
    timeout: float = Field(default=120.0, gt=0, le=3600)
    retries: int = Field(default=4, ge=0, le=20)
    backoff: float = Field(default=1.0, gt=0, le=60)
    at_once: int = Field(default=8, ge=1, le=256)
    requests_per_minute: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    price_input: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    price_output: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    spending_limit: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    answers: Path | None = None

    @field_validator("base_url")
    @classmethod
    def _is_plain(cls, url: str) -> str:
        return checked_url(url) if url else url

    @field_validator("request")
    @classmethod
    def _is_the_recipes(cls, request: dict[str, Any]) -> dict[str, Any]:
        for name in request:
            if _names_a_key(name):
                raise ValueError(f"holds '{name}': {_NO_KEY}")
            if name in OURS:
                raise ValueError(f"sets '{name}', which is set for you. Take it out")
        try:
            json.dumps(request, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError("holds a value that JSON cannot say. Give texts, finite numbers, lists") from error
        return {**USUAL, **request}

    @model_validator(mode="after")
    def _limit_has_prices(self) -> "ServerConfig":
        if self.spending_limit is not None and not (self.price_input or self.price_output):
            raise ValueError("spending_limit needs price_input and price_output, per million tokens: give them")
        return self

    @property
    def body(self) -> dict[str, Any]:
        """The fields of every request besides model and messages."""
        return {name: value for name, value in self.request.items() if value is not None}


_NO_KEY = f"the key comes from the environment alone. Take it out and set {OWN_KEY}"


def server_config(**settings: Any) -> ServerConfig:
    """A :class:`ServerConfig`, with every fault said in plain words and no value that might be a key.

    Raises:
        RemoteError: a setting is unknown or outside its range.
    """
    for name in settings:
        if _names_a_key(name):
            raise RemoteError(f"The server's settings hold '{name}': {_NO_KEY}.")
        if name not in ServerConfig.model_fields:
            near = did_you_mean(name, ServerConfig.model_fields)
            raise RemoteError(
                f"A server has no setting '{name}'.{near} There are: {', '.join(ServerConfig.model_fields)}."
            )
    try:
        return ServerConfig(**settings)
    except ValidationError as error:
        faults = [" ".join([*map(str, e["loc"]), plain(e)]) for e in error.errors(include_url=False)]
        raise RemoteError(f"The server's settings: {'; '.join(faults)}.") from None


@dataclass(frozen=True)
class Endpoint:
    """Where requests go: ``url`` without a slash at its end, the model's name, and the key, which prints as stars."""

    url: str
    model: str
    key: SecretStr | None

    @property
    def is_local(self) -> bool:
        """True for this machine, which no proxy stands before."""
        return _is_local(self.url)

    def hide(self, text: str) -> str:
        """``text`` without the key, should a server have said it."""
        return text.replace(self.key.get_secret_value(), "***") if self.key else text


def endpoint(config: ServerConfig, environ: Mapping[str, str] = os.environ) -> Endpoint:
    """The server, model and key that a configuration means in an environment.

    Somebody else's recipe may name a server, so a key goes only where the environment trusts one: TRADESCHOOL_API_KEY
    to the origin (scheme, host and port) of TRADESCHOOL_BASE_URL, and where that is not set to this machine alone;
    OPENAI_API_KEY to OpenAI's own server. Beyond this machine no key goes over plain http.

    Raises:
        RemoteError: server or model stand nowhere, the key cannot be one, or it is not to be sent there.
    """
    url = config.base_url or environ.get(BASE_URL, "").strip()
    model = config.model or environ.get(MODEL, "").strip()
    if not url:
        raise RemoteError(f"No chat server is named. Give base_url, or set {BASE_URL}, for example to {EXAMPLE}.")
    if not config.base_url:
        url = _checked_trusted(url)
    if not model:
        raise RemoteError(f"No model is named. Give model, or set {MODEL}; {url}/models lists what the server has.")
    said = f"{url} {model} {json.dumps(config.request)}"
    # Before anything names the address: one that holds the key must not be told.
    for key in (_set_key(OWN_KEY, environ), _set_key(OPENAI_KEY, environ)):
        if len(key) >= SHORTEST_SECRET and key in said:
            raise RemoteError(f"The server's settings hold the key: {_NO_KEY}.")
    return Endpoint(url, model, _key(url, environ))


def checked_url(url: str) -> str:
    """An address without a slash at its end.

    Raises:
        ValueError: it is none, or may hold a secret; the text does not repeat it.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError(f"is no address. Write it like {EXAMPLE}") from None
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ValueError(f"holds a name, a password or a query. {_NO_KEY}; write the address like {EXAMPLE}")
    if parts.scheme not in ("http", "https") or not parts.hostname or any(letter.isspace() for letter in url):
        raise ValueError(f"is no address of a server. Write it like {EXAMPLE}")
    return url.rstrip("/").removesuffix("/chat/completions")


def _key(url: str, environ: Mapping[str, str]) -> SecretStr | None:
    """The key that may go to ``url``; see :func:`endpoint`."""
    name, key = _key_for(url, environ)
    if key and urlsplit(url).scheme != "https" and not _is_local(url):
        raise RemoteError(
            f"{name} is not sent to {url}: anyone on the way could read it. Give an address with https, or take {name} "
            "out of the environment."
        )
    return SecretStr(key) if key else None


def _key_for(url: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """The name of a key and the key; an empty one where none is to go there."""
    own, openai = _set_key(OWN_KEY, environ), _set_key(OPENAI_KEY, environ)
    trusted = environ.get(BASE_URL, "").strip()
    if own and trusted and _origin(_checked_trusted(trusted)) == _origin(url):
        return OWN_KEY, own
    if openai and urlsplit(url).hostname == OPENAI_HOST:
        return OPENAI_KEY, openai
    if not own or trusted:
        return OWN_KEY, ""
    if not _is_local(url):
        raise RemoteError(
            f"{OWN_KEY} is not sent to {url}, which the settings name. If you trust that server, set {BASE_URL} to it; "
            f"else take {OWN_KEY} out of the environment."
        )
    return OWN_KEY, own


def _set_key(name: str, environ: Mapping[str, str]) -> str:
    key = environ.get(name, "").strip()
    if not all("!" <= letter <= "~" for letter in key):
        raise RemoteError(
            f"{name} holds a blank or a letter that no key has. Set it again, in full and without quotes."
        )
    return key


def _checked_trusted(url: str) -> str:
    try:
        return checked_url(url)
    except ValueError as error:
        raise RemoteError(f"{BASE_URL} {error}.") from None


def _origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port (RFC 6454): who is asked."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _names_a_key(name: str) -> bool:
    plain_name = "".join(letter for letter in name.casefold() if letter.isalnum())
    return plain_name in KEY_NAMES or plain_name.endswith(("apikey", "accesstoken"))
