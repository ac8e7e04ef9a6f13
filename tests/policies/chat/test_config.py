"""Where the address, the model and the key come from, and what is refused."""

import re
from typing import Any

import pytest

from tradeschool.policies.chat.config import RemoteError, ServerConfig, endpoint, server_config

KEY = "sk-test-0123456789abcdef"
URL = "http://localhost:8000/v1"


def test_address_and_model_come_from_the_recipe_or_the_environment() -> None:
    environ = {"TRADESCHOOL_BASE_URL": "http://there:1/v1/", "TRADESCHOOL_MODEL": "big"}
    found = endpoint(ServerConfig(), environ)
    assert (found.url, found.model, found.key) == ("http://there:1/v1", "big", None)
    found = endpoint(ServerConfig(base_url=URL, model="small"), environ)
    assert (found.url, found.model) == (URL, "small")


@pytest.mark.parametrize("given", [URL, f"{URL}/", f"{URL}/chat/completions"])
def test_an_address_may_be_given_in_full(given: str) -> None:
    assert server_config(base_url=given).base_url == URL


@pytest.mark.parametrize(
    ("settings", "environ", "words"),
    [
        ({}, {}, "set TRADESCHOOL_BASE_URL"),
        ({"base_url": URL}, {}, "set TRADESCHOOL_MODEL"),
        ({"model": "m"}, {"TRADESCHOOL_BASE_URL": f"http://me:{KEY}@there/v1"}, "TRADESCHOOL_BASE_URL holds a name"),
        ({"model": "m", "base_url": URL}, {"TRADESCHOOL_API_KEY": f"{KEY}\n{KEY}"}, "holds a blank"),
        ({"model": "m", "base_url": URL}, {"TRADESCHOOL_API_KEY": f"{KEY}ü"}, "holds a blank"),
        ({"model": KEY, "base_url": URL}, {"TRADESCHOOL_API_KEY": KEY}, "hold the key"),
        ({"model": "m", "base_url": f"{URL}/{KEY}"}, {"TRADESCHOOL_API_KEY": KEY}, "hold the key"),
        ({"model": "m", "base_url": URL, "request": {"user": KEY}}, {"TRADESCHOOL_API_KEY": KEY}, "hold the key"),
    ],
)
def test_what_an_environment_lacks_or_must_not_hold(
    settings: dict[str, Any], environ: dict[str, str], words: str
) -> None:
    with pytest.raises(RemoteError, match=re.escape(words)) as raised:
        endpoint(server_config(**settings), environ)
    assert KEY[:8] not in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"api_key": KEY}, "set TRADESCHOOL_API_KEY"),
        ({"API-Key": KEY}, "set TRADESCHOOL_API_KEY"),
        ({"request": {"api_key": KEY}}, "set TRADESCHOOL_API_KEY"),
        ({"request": {"headers": {"Authorization": KEY}}}, "set TRADESCHOOL_API_KEY"),
        ({"base_url": f"https://api.example.com/v1?key={KEY}"}, "query"),
        ({"base_url": f"https://me:{KEY}@api.example.com/v1"}, "password"),
        ({"base_url": "localhost:8000"}, "Write it like http://localhost:8000/v1"),
        ({"base_url": "http://localhost:80x/v1"}, "is no address"),
        ({"base_url": "file:///etc/passwd"}, "is no address"),
        ({"time_out": 3}, "Did you mean 'timeout'?"),
        ({"timeout": 0}, "timeout is 0, but must be greater than 0"),
        ({"at_once": 0}, "at_once is 0, but must be at least 1"),
        ({"request": {"messages": []}}, "which is set for you"),
        ({"request": {"seed": float("nan")}}, "JSON cannot say"),
        ({"spending_limit": 1.0}, "needs price_input and price_output"),
    ],
)
def test_settings_are_refused_in_plain_words(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(RemoteError, match=re.escape(words)) as raised:
        server_config(**settings)
    said = f"{raised.value}{raised.value.__context__ if not raised.value.__suppress_context__ else ''}"
    assert KEY[:8] not in said


def test_max_tokens_is_no_key() -> None:
    body = server_config(request={"max_tokens": None, "max_completion_tokens": 9, "logit_bias": {"1": 2}}).body
    assert body == {"temperature": 0, "max_completion_tokens": 9, "logit_bias": {"1": 2}}


@pytest.mark.parametrize(
    ("url", "environ", "key"),
    [
        ("https://api.openai.com/v1", {"OPENAI_API_KEY": "theirs"}, "theirs"),
        ("https://api.openai.com/v1", {"OPENAI_API_KEY": "theirs", "TRADESCHOOL_API_KEY": "own"}, "own"),
        ("https://api.openai.com.evil.org/v1", {"OPENAI_API_KEY": "theirs"}, None),
        ("http://localhost:8000/v1", {"OPENAI_API_KEY": "theirs"}, None),
        ("http://localhost:8000/v1", {"TRADESCHOOL_API_KEY": " own\n"}, "own"),
        ("http://localhost:8000/v1", {"TRADESCHOOL_API_KEY": ""}, None),
    ],
)
def test_openais_key_goes_to_openai_alone(url: str, environ: dict[str, str], key: str | None) -> None:
    found = endpoint(server_config(base_url=url, model="m"), environ).key
    assert (found.get_secret_value() if found else None) == key


def test_a_word_instead_of_a_key_may_stand_in_an_address() -> None:
    assert endpoint(server_config(base_url=URL, model="local"), {"TRADESCHOOL_API_KEY": "local"}).key


@pytest.mark.parametrize(
    ("host", "local"),
    [("localhost", True), ("127.0.0.1", True), ("[::1]", True), ("10.0.0.1", False), ("localhost.org", False)],
)
def test_proxies_do_not_stand_before_this_machine(host: str, local: bool) -> None:
    assert endpoint(server_config(base_url=f"http://{host}:8000/v1", model="m"), {}).is_local is local
