"""The forms in which the law of the broker is run."""

import importlib.util
import sys
from types import ModuleType

import pytest
from plain_portfolio import PlainPortfolio

from tradeschool.env import batched, kernel, portfolio, portfolio_arrays

LAWS = ("plain floats", "compiled", "not compiled")


def in_plain_floats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numeric environments keep their book in plain floats."""
    monkeypatch.setattr(portfolio, "PortfolioArrays", PlainPortfolio)


@pytest.fixture(scope="session")
def interpreted() -> ModuleType:
    """The compiled law as it is where numba is not installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "numba", None)
        spec = importlib.util.spec_from_file_location("interpreted_kernel", kernel.__file__)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


@pytest.fixture(params=LAWS)
def law(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, interpreted: ModuleType) -> str:
    """A test that asks for this holds for every form of the law; batches always run a form of arrays."""
    if request.param == "plain floats":
        in_plain_floats(monkeypatch)
    if request.param == "not compiled":
        for module in (batched, portfolio_arrays):
            monkeypatch.setattr(module, "days", interpreted.days)
    form: str = request.param
    return form
