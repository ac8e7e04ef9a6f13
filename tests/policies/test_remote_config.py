"""Where the address, the model and the API key come from, and what is refused."""

import re
from typing import Any

import pytest

from tradeschool.policies.remote_config import RemoteError, ServerConfig, endpoint, server_config

KEY = "sk-test-0123456789abcdef"
URL = "http://localhost:8000/v1"


def test_address_and_model_come_from_the_recipe_or_the_environment() -> None:
    environ = {"TRADESCHOOL_BASE_URL": "http://there:1/v1/", "TRADESCHOOL_MODEL": "big"}
    found = endpoint(ServerConfig(), environ)
    assert (found.url, found.model, found.key) == ("http://there:1/v1", "big", None)
    found = endpoint(ServerConfig(base_url=URL, model="small"), environ)
    assert (found.url, found.model) == (URL, "small")


@pytest.mark.parametrize("given", [URL, f"{URL}/", f"{URL}/chat/completions"])
def test_a_full_address_is_shortened(given: str) -> None:
    assert server_config(base_url=given).base_url == URL


@pytest.mark.parametrize(
    ("settings", "environ", "words"),
    [
        ({}, {}, "TRADESCHOOL_BASE_URL"),
        ({"base_url": URL}, {}, "TRADESCHOOL_MODEL"),
        (
            {"model": "m"},
            {"TRADESCHOOL_BASE_URL": f"http://me:{KEY}@there/v1"},
            "TRADESCHOOL_BASE_URL contains a",
        ),
        ({"model": "m", "base_url": URL}, {"TRADESCHOOL_API_KEY": f"{KEY}\n{KEY}"}, "contains a space"),
        ({"model": "m", "base_url": URL}, {"TRADESCHOOL_API_KEY": f"{KEY}ü"}, "contains a space"),
        ({"model": KEY, "base_url": URL}, {"TRADESCHOOL_API_KEY": KEY}, "contain the API"),
        ({"model": "m", "base_url": f"{URL}/{KEY}"}, {"TRADESCHOOL_API_KEY": KEY}, "contain the API"),
        (
            {"model": "m", "base_url": URL, "request": {"user": KEY}},
            {"TRADESCHOOL_API_KEY": KEY},
            "contain the API",
        ),
    ],
)
def test_missing_and_malformed_settings_of_the_environment(
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
        ({"base_url": "http://localhost:80x/v1"}, "is not an"),
        ({"base_url": "file:///etc/passwd"}, "is not an"),
        ({"time_out": 3}, "Did you mean 'timeout'?"),
        ({"timeout": 0}, "timeout: is 0, but must be greater than 0"),
        ({"concurrency": 0}, "concurrency: is 0, but must be at least 1"),
        ({"request": {"messages": []}}, "set automatically"),
        ({"request": {"seed": float("nan")}}, "not valid JSON"),
        ({"spending_limit": 1.0}, "needs price_input and price_output"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(RemoteError, match=re.escape(words)) as raised:
        server_config(**settings)
    message = f"{raised.value}{raised.value.__context__ if not raised.value.__suppress_context__ else ''}"
    assert KEY[:8] not in message


def test_max_tokens_is_not_a_key() -> None:
    body = server_config(request={"max_tokens": None, "max_completion_tokens": 9, "logit_bias": {"1": 2}}).body
    assert body == {"temperature": 0, "max_completion_tokens": 9, "logit_bias": {"1": 2}}


OPENAI, GOOD, EVIL = "https://api.openai.com/v1", "https://good.example/v1", "https://evil.example/v1"


def key_sent(url: str, **environ: str) -> str | None:
    names = {"own": "TRADESCHOOL_API_KEY", "openai": "OPENAI_API_KEY", "trusted": "TRADESCHOOL_BASE_URL"}
    found = endpoint(server_config(base_url=url, model="m"), {names[name]: value for name, value in environ.items()})
    return found.key.get_secret_value() if found.key else None


@pytest.mark.parametrize(
    ("url", "environ", "key"),
    [
        (OPENAI, {"openai": "theirs"}, "theirs"),
        (OPENAI, {"openai": "theirs", "own": "own"}, "theirs"),
        (OPENAI, {"openai": "theirs", "own": "own", "trusted": OPENAI}, "own"),
        (OPENAI, {"openai": "theirs", "own": "own", "trusted": GOOD}, "theirs"),
        ("https://api.openai.com.evil.org/v1", {"openai": "theirs"}, None),
        (URL, {"openai": "theirs"}, None),
        (URL, {"own": " own\n"}, "own"),
        (URL, {"own": ""}, None),
        (GOOD, {"own": "own", "trusted": GOOD}, "own"),
        ("", {"own": "own", "trusted": GOOD}, "own"),
        ("", {"own": "own", "trusted": URL}, "own"),
        ("https://GOOD.example:443/other/path", {"own": "own", "trusted": GOOD}, "own"),
        (GOOD, {"own": "own", "trusted": "https://good.example:443"}, "own"),
        # The environment trusts another one.
        (EVIL, {"own": "own", "trusted": GOOD}, None),
        ("http://evil.example/v1", {"own": "own", "trusted": GOOD}, None),
        ("https://good.example.evil.example/v1", {"own": "own", "trusted": GOOD}, None),
        ("https://good.example:8443/v1", {"own": "own", "trusted": GOOD}, None),
        ("http://good.example/v1", {"own": "own", "trusted": GOOD}, None),
        (URL, {"own": "own", "trusted": GOOD}, None),
        ("http://localhost:8001/v1", {"own": "own", "trusted": URL}, None),
    ],
)
def test_a_key_goes_only_to_the_server_that_the_environment_trusts(
    url: str, environ: dict[str, str], key: str | None
) -> None:
    assert key_sent(url, **environ) == key


@pytest.mark.parametrize(
    ("url", "environ", "words"),
    [
        (
            EVIL,
            {"own": KEY},
            f"not sent to {EVIL}, which comes from the settings. If you trust that server, set TRADESCHOOL_",
        ),
        (
            "http://10.0.0.1:8000/v1",
            {"own": KEY},
            "otherwise unset TRADESCHOOL_API_KEY",
        ),
        ("http://localhost.evil.example/v1", {"own": KEY}, "not sent to"),
        (OPENAI, {"own": KEY}, f"TRADESCHOOL_API_KEY is not sent to {OPENAI}"),
        ("", {"own": KEY, "trusted": "http://good.example/v1"}, "not encrypted. Use https"),
        ("http://good.example/v1", {"own": KEY, "trusted": "http://good.example"}, "Use https"),
        (
            "http://api.openai.com/v1",
            {"openai": KEY},
            "OPENAI_API_KEY is not sent to http://api.openai.com/v1",
        ),
        (EVIL, {"own": KEY, "trusted": "good.example"}, "TRADESCHOOL_BASE_URL is not an"),
        (f"https://evil.example/{KEY}", {"own": KEY, "trusted": GOOD}, "contain the API"),
        (f"https://evil.example/{KEY}", {"openai": KEY}, "contain the API"),
    ],
)
def test_a_key_is_not_sent_to_other_servers_or_over_http(url: str, environ: dict[str, str], words: str) -> None:
    with pytest.raises(RemoteError, match=re.escape(words)) as raised:
        key_sent(url, **environ)
    assert KEY[:8] not in str(raised.value)


def test_a_placeholder_key_may_be_part_of_an_address() -> None:
    assert endpoint(server_config(base_url=URL, model="local"), {"TRADESCHOOL_API_KEY": "local"}).key


@pytest.mark.parametrize(
    ("host", "local"),
    [("localhost", True), ("127.0.0.1", True), ("[::1]", True), ("10.0.0.1", False), ("localhost.org", False)],
)
def test_this_machine_is_local(host: str, local: bool) -> None:
    assert endpoint(server_config(base_url=f"http://{host}:8000/v1", model="m"), {}).is_local is local
