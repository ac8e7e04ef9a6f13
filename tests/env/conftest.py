"""The forms in which the law of the broker is run."""

import importlib.util
import sys
from types import ModuleType

import pytest

from tradeschool.env import batched, kernel, portfolio, portfolio_arrays

LAWS = ("plain floats", "compiled", "not compiled")


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
    monkeypatch.setattr(portfolio, "ARRAYS_FROM", 1000 if request.param == "plain floats" else 1)
    if request.param == "not compiled":
        for module in (batched, portfolio_arrays):
            monkeypatch.setattr(module, "days", interpreted.days)
    form: str = request.param
    return form
