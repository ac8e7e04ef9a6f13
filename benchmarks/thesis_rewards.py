"""Measures how many theses a second one core reads and scores: structure, evidence, conclusion.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/thesis_rewards.py

The offline teacher writes theses of about 900 words about questions on a synthetic market; no two are the same. Each
is parsed and scored against the index of its prompt, which is built once for each question (a group of answers shares
it). CPU time of one core, the best of several rounds, in all and for 600 words.
"""

import time
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.table import Table

from tradeschool.market.splits import split_rows
from tradeschool.market.synthetic import SyntheticConfig, simulate
from tradeschool.tasks.thesis import ThesisTask
from tradeschool.tasks.thesis_config import ThesisConfig
from tradeschool.tasks.thesis_evidence import evidence
from tradeschool.tasks.thesis_rewards import text_rewards
from tradeschool.tasks.thesis_structure import FORMS, structure
from tradeschool.text.citations import PromptIndex
from tradeschool.text.thesis import parse_thesis

THESES, ROUNDS, WORDS, GOAL = 200, 7, 600, 10_000
FORM = FORMS["full"]


def seconds(work: Callable[[int], object], count: int) -> float:
    """CPU seconds of one call, the best of several rounds over all numbers."""

    def one_round() -> float:
        started = time.process_time()
        for i in range(count):
            work(i)
        return (time.process_time() - started) / count

    return min(one_round() for _ in range(ROUNDS))


def theses() -> tuple[list[str], list[PromptIndex], list[str]]:
    """Texts with the indexes of their prompts, and the prompts."""
    panel = simulate(SyntheticConfig(seed=1, tickers=20, days=400))
    task = ThesisTask(ThesisConfig(), panel, split_rows(panel, (0.7, 0.1, 0.2), embargo=16, warmup=60))
    pairs = task.sft_examples("train", THESES, seed=0)
    prompts = [task.messages(example)[-1]["content"] for example, _ in pairs]
    return [text for _, text in pairs], [PromptIndex(prompt) for prompt in prompts], prompts


def rows(texts: Sequence[str], indexes: Sequence[PromptIndex], prompts: Sequence[str]) -> dict[str, float]:
    """Seconds for one thesis, by part."""
    parsed = [parse_thesis(text) for text in texts]
    parts: dict[str, Callable[[int], object]] = {
        "parsing": lambda i: parse_thesis(texts[i]),
        "structure": lambda i: structure(parsed[i], FORM, indexes[i]),
        "evidence": lambda i: evidence(parsed[i], FORM, indexes[i]),
        "all of a thesis": lambda i: text_rewards(parse_thesis(texts[i]), FORM, indexes[i]),
        "once for a prompt: its index": lambda i: PromptIndex(prompts[i]),
    }
    return {name: seconds(work, len(texts)) for name, work in parts.items()}


def main() -> None:
    texts, indexes, prompts = theses()
    words = sum(len(text.split()) for text in texts) / len(texts)
    table = Table(
        "part", title=f"{len(texts)} theses of {words:.0f} words on average, one core; goal {GOAL:,} a second"
    )
    for heading in ("microseconds", "a second", f"a second, for {WORDS} words"):
        table.add_column(heading, justify="right")
    for name, taken in rows(texts, indexes, prompts).items():
        scaled = words / WORDS / taken
        table.add_row(name, f"{1e6 * taken:.0f}", f"{1 / taken:,.0f}", f"{scaled:,.0f}" if "thesis" in name else "")
    Console().print(table)


if __name__ == "__main__":
    main()
