"""What asking a server took: requests, failures, tokens, cost and time."""

import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Prices:
    """Of a million tokens, in any currency; None where nobody said."""

    input: float | None = None
    output: float | None = None

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float | None:
        """Of one request; None without prices."""
        if self.input is None and self.output is None:
            return None
        return (prompt_tokens * (self.input or 0.0) + completion_tokens * (self.output or 0.0)) / 1e6


@dataclass(frozen=True)
class Call:
    """One answer: seconds from the request to its last byte, tokens and cost where they are known.

    ``cut`` is True where the answer ended because it had reached its limit of tokens.
    """

    seconds: float
    prompt_tokens: int | None
    completion_tokens: int | None
    cost: float | None
    cut: bool


@dataclass
class Meter:
    """Sums up the calls of a client.

    Attributes:
        calls: those that were answered, in the order of the answers.
        failures: requests without an answer after all retries, by reason.
        retries: requests that were sent again.
        reused: answers taken from the file of an earlier run; they took and cost nothing and are no calls.
        cost: of all answers whose tokens the server told; None where there are no prices. A request that failed may
            have been charged for on top: no server says so.
        dearest: cost of the dearest answer so far.
    """

    calls: list[Call] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    retries: int = 0
    reused: int = 0
    cost: float | None = None
    dearest: float = 0.0

    def add(self, call: Call) -> None:
        """Count an answer."""
        self.calls.append(call)
        if call.cost is not None:
            self.cost = (self.cost or 0.0) + call.cost
            self.dearest = max(self.dearest, call.cost)

    @property
    def failed(self) -> int:
        """Requests that came to nothing."""
        return self.failures.total()

    def latency(self, quantile: float) -> float:
        """Seconds that this share of the answers took at most; NaN before the first."""
        if not self.calls:
            return math.nan
        return float(np.quantile([call.seconds for call in self.calls], quantile))

    def summary(self) -> dict[str, float | int | None]:
        """For a table or a file: figures by name, None where one is not known."""
        told = [call for call in self.calls if call.prompt_tokens is not None]
        cost = self.cost
        return {
            "requests": len(self.calls) + self.failed,
            "failed": self.failed,
            "retries": self.retries,
            "reused": self.reused,
            "cut": sum(call.cut for call in self.calls),
            "prompt_tokens": sum(call.prompt_tokens or 0 for call in told) if told else None,
            "completion_tokens": sum(call.completion_tokens or 0 for call in told) if told else None,
            "cost": cost,
            "cost_per_request": None if cost is None else cost / len(self.calls),
            "latency_median": self.latency(0.5) if self.calls else None,
            "latency_p95": self.latency(0.95) if self.calls else None,
        }

    def line(self) -> str:
        """The same for a person, failures with their reasons."""
        found = self.summary()
        parts = [f"{found['requests']:,} requests"]
        if self.failures:
            reasons = ", ".join(f"{count} x {reason}" for reason, count in self.failures.most_common(3))
            parts.append(f"{self.failed:,} failed ({reasons})")
        for count, words in (
            (self.retries, "sent again"),
            (found["cut"], "cut at the limit of tokens"),
            (self.reused, "answers of an earlier run"),
        ):
            if count:
                parts.append(f"{count:,} {words}")
        if self.calls:
            parts.append(f"latency median {found['latency_median']:.2f} s, p95 {found['latency_p95']:.2f} s")
        if found["prompt_tokens"] is not None:
            parts.append(f"{found['prompt_tokens']:,} tokens in and {found['completion_tokens']:,} out")
        if found["cost"] is not None:
            parts.append(f"cost {found['cost']:.4f}, {found['cost_per_request']:.6f} a request")
        return "; ".join(parts)
