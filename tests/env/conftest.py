"""The three ways in which orders are settled."""

import importlib.util
import sys
from types import ModuleType

import pytest
from plain_settlement import PlainEpisodeAccount

from tradeschool.env import broker, trading_env, vector_env, vector_kernel


@pytest.fixture(scope="session")
def uncompiled() -> ModuleType:
    """The kernel as it is where numba is not installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "numba", None)
        spec = importlib.util.spec_from_file_location("uncompiled_kernel", vector_kernel.__file__)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


@pytest.fixture(params=("plain", "compiled", "uncompiled"))
def settlement(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, uncompiled: ModuleType) -> str:
    """A test that uses this runs with each; vector environments always run the kernel."""
    if request.param == "plain":
        monkeypatch.setattr(trading_env, "Account", PlainEpisodeAccount)
    if request.param == "uncompiled":
        for module in (vector_env, broker):
            monkeypatch.setattr(module, "settle_days", uncompiled.settle_days)
    form: str = request.param
    return form
