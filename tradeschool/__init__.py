"""tradeschool trains language models to trade, and says honestly whether they learned anything.

The public Python API. Everything is imported when first used, so that ``import tradeschool`` is fast::

    import tradeschool as ts

    run = ts.run("recipes/demo.yaml", {"seed": 3})      # train, evaluate, report
    print(run.comparison.row("grpo").sentence)          # what the model is worth, with its interval
    print(run.report)                                   # the HTML report

    run = ts.load_run("demo")                           # the latest run of the recipe "demo"
    decision = run.decide(run.panel.tickers[0])         # the newest date; or decide(ticker, "2012-03-01")
    print(decision.date, decision.action, decision.reasoning)
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tradeschool.api import Decision, Run, load_run, make_env, resume, run
    from tradeschool.errors import TradeschoolError
    from tradeschool.evaluate.judge import evaluate_decisions
    from tradeschool.policies.base import Policy
    from tradeschool.seeds import Seeds, run_seeds
    from tradeschool.tasks.base import Example, Task

_MODULES = {
    "Decision": "tradeschool.api",
    "Example": "tradeschool.tasks.base",
    "Policy": "tradeschool.policies.base",
    "Run": "tradeschool.api",
    "Seeds": "tradeschool.seeds",
    "Task": "tradeschool.tasks.base",
    "TradeschoolError": "tradeschool.errors",
    "evaluate_decisions": "tradeschool.evaluate.judge",
    "load_run": "tradeschool.api",
    "make_env": "tradeschool.api",
    "resume": "tradeschool.api",
    "run": "tradeschool.api",
    "run_seeds": "tradeschool.seeds",
}
__all__ = ["Decision", "Example", "Policy", "Run", "Seeds", "Task", "TradeschoolError", "evaluate_decisions",
           "load_run", "make_env", "resume", "run", "run_seeds"]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'tradeschool' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
