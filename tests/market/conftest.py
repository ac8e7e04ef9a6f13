"""A Yahoo without a network."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fake_yahoo import FakeYahoo


@pytest.fixture(scope="session")
def yfinance_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """yfinance keeps cookies and time zones in databases: not the user's own."""
    pytest.importorskip("yfinance").set_tz_cache_location(str(tmp_path_factory.mktemp("yfinance")))


@pytest.fixture
def yahoo(yfinance_cache: None, monkeypatch: pytest.MonkeyPatch) -> "Iterator[FakeYahoo]":
    """A Yahoo that knows DEMO, and a yfinance without the state of earlier tests, which retries without waiting."""
    import yfinance as yf
    from fake_yahoo import FakeYahoo, chart

    yf.data.YfData._instances.clear()
    monkeypatch.setattr(yf.data._time, "sleep", lambda seconds: None)
    monkeypatch.setattr(yf.base, "_tz_info_fetch_ctr", 0)
    yf.cache.get_tz_cache().store("DEMO", None)
    yield FakeYahoo(DEMO=chart())
    assert (yf.config.debug.hide_exceptions, yf.config.network.retries) == (True, 0)
