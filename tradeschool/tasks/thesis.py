"""The thesis task: an investment thesis with evidence from the prompt, and a rating at its end.

It asks and is scored as the rating task, of which it holds one; the thesis is its own.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tradeschool.errors import ParseError, RecipeError
from tradeschool.market.panel import Panel
from tradeschool.market.snapshot import Snapshot
from tradeschool.market.splits import Split, embargo
from tradeschool.policies.base import Answerer
from tradeschool.tasks import thesis_teacher
from tradeschool.tasks.base import Example, Message, Metric, Rewards, SplitName, Task
from tradeschool.tasks.rating import METRICS, RATING_VALUES, RatingTask
from tradeschool.tasks.thesis_account import RatedAccounts
from tradeschool.tasks.thesis_config import ThesisConfig
from tradeschool.tasks.thesis_rewards import (
    ACCOUNT,
    JOINT,
    RATED,
    TEXT,
    agreement,
    joint_reward,
    text_rewards,
    trained_weights,
)
from tradeschool.tasks.thesis_structure import FORMS, Form
from tradeschool.text.citations import PromptIndex
from tradeschool.text.parse import RATING_NAMES, RATINGS
from tradeschool.text.thesis import Thesis, body_of, format_thesis, parse_thesis

TEXT_METRICS = (
    Metric("structure", "structure", "mean structure of the theses, at most 1"),
    Metric("evidence", "evidence", "mean evidence of the theses, at most 1"),
    Metric("verified", "verified %", "quotations that stand in the prompt", 1, 100, terminal="no"),
    Metric("agreement", "agreement %", "conclusions on the side of the decision", 1, 100, terminal="no"),
)
CHOICES = ", ".join(RATINGS)
LONG = (
    "You are an analyst. Write an investment thesis about one stock for the coming days from what is known after the "
    "close. Think first, inside <think></think>. Then write {sections} sections in XML tags of your choice such as "
    "<trend></trend>, each with a heading (## ...) and {bullets} points. A point starts with '- ' and **a term in bold "
    "type**, states an opinion of at least {words} words, quotes the data *word by word* between single asterisks, and "
    "names the part of the data that it is from between backticks, such as `facts` or `prices`.{table} Quote nothing "
    "twice. Then state inside <conclusion></conclusion> what follows, and end with one line that holds exactly one of "
    "{choices}."
)
TABLE = " Each section has a small table."
SIMPLE = (
    "You are an analyst. Decide about one stock for the coming days from what is known after the close. Reason inside "
    "<reasoning></reasoning>. Then write {bullets} points inside <support></support>, below a heading (## ...). A "
    "point starts with '- ' and **a term in bold type**, states an opinion of at least {words} words, quotes the data "
    "*word by word* between single asterisks, and names the part of the data that it is from between backticks, such "
    "as `facts` or `prices`. Quote nothing twice. End with <action></action>, which holds exactly one of {choices}."
)


class ThesisTask(Task):
    """Write a thesis about a stock after the close and rate it; the rating is held from the next open.

    Prompt: facts and sections, each below a heading that is the name of a source. Answer: see ``text/thesis.py``.
    Reward components (``weights`` in the recipe): docs/rewards.md.
    """

    name, version = "thesis", "1.0.0"
    action_names = tuple(RATINGS)
    known_components = ("risk", *TEXT)
    config_class = ThesisConfig
    answers_note = (
        "The offline teacher writes a thesis backwards from its rating: it quotes lines of the prompt word by word, "
        "and every figure in it stands in the prompt."
    )

    def __init__(self, config: ThesisConfig, panel: Panel, split: Split) -> None:
        self.config, self.panel, self.split = config, panel, split
        self.rating = RatingTask(config.rating(), panel, split)
        self.weights = trained_weights(config.weights, config.combine)
        self.horizon = max(self.rating.horizon, self._window())
        self.form = FORMS[config.form]
        self.simple = config.form == "simple"
        self.special_tokens = _special_tokens(self.simple)
        self.accounts = RatedAccounts(panel, self.rating.snapshots.values["volatility_20"], config.account)
        self._indexed: tuple[str, PromptIndex] | None = None
        self._read: tuple[str, Thesis | None, str] | None = None
        self._scored: tuple[str, str, Rewards] = ("", "", {})

    def with_weights(self, weights: Mapping[str, float]) -> "ThesisTask":
        """The same task with other weights of its reward components."""
        other = super().with_weights(weights)
        other.config = self.config.model_copy(update={"weights": dict(weights)})
        other.weights = trained_weights(weights, self.config.combine)
        other.horizon = max(self.horizon, other._window())
        if other.horizon > max(self.horizon, covered := embargo(self.split) - 1):
            raise RecipeError(
                f"weights: {', '.join(ACCOUNT)} look {other.horizon} days ahead (task.account.window), but the embargo "
                f"between the parts of the split covers {covered}. Lower task.account.window, or set "
                f"split.embargo={other.horizon + 1}."
            )
        return other

    def _window(self) -> int:
        """Days that the trained parts of the account look ahead."""
        return self.config.account.window if any(self.config.weights.get(name) for name in ACCOUNT) else 1

    # the question --------------------------------------------------------------------------------

    def rows(self, split: SplitName) -> NDArray[np.int64]:
        """Date rows of a split."""
        return self.rating.rows(split)

    def examples(self, split: SplitName) -> list[Example]:
        """Every listed ticker on every date of the split whose volatility and outcome are known."""
        return self.rating.examples(split)

    def stream(self, split: SplitName) -> Iterator[Example]:
        """The same one by one, with all variants of a training question together."""
        return self.rating.stream(split)

    def example_at(self, t: int, n: int, variant: int = 0) -> Example:
        """The question about ticker column ``n`` after the close of row ``t``."""
        return self.rating.example_at(t, n, variant)

    def messages(self, example: Example) -> list[Message]:
        """The facts and the sections, each below its heading."""
        messages: list[Message] = [{"role": "user", "content": self._data(example)}]
        if text := self._instructions():
            messages.insert(0, {"role": "system", "content": text})
        return messages

    def _data(self, example: Example) -> str:
        return f"## {thesis_teacher.FACTS.capitalize()}\n{self.rating.messages(example)[-1]['content']}"

    def _instructions(self) -> str:
        given = self.config.instructions
        return given if isinstance(given, str) else instructions(self.form, self.simple) if given else ""

    def snapshot(self, example: Example) -> Snapshot:
        """All that is known about the ticker at the close."""
        return self.rating.snapshot(example)

    def index(self, example: Example) -> PromptIndex:
        """The prompt's data by its words; that of the last question is kept."""
        if self._indexed is None or self._indexed[0] != example.key:
            self._indexed = (example.key, PromptIndex(self._data(example), self._instructions()))
        return self._indexed[1]

    # the answer ----------------------------------------------------------------------------------

    def parse(self, completion: str) -> int:
        """-2..2; raises ParseError for anything but a thesis in the task's form with exactly one decision."""
        _, thesis, problem = self._thesis(completion)
        if thesis is None:
            raise ParseError(problem)
        return RATINGS[thesis.decision]

    def _thesis(self, completion: str) -> tuple[str, Thesis | None, str]:
        """The text, its thesis, and why it has none; that of the last text is kept, for its rewards."""
        if self._read is None or self._read[0] != completion:
            try:
                thesis = parse_thesis(completion)
                wrong = thesis.simple != self.simple
                self._read = (completion, None, "a thesis in the other form") if wrong else (completion, thesis, "")
            except ParseError as error:
                self._read = (completion, None, str(error))
        return self._read

    def action_name(self, action: int) -> str:
        """The rating's name."""
        return RATING_NAMES[action]

    def format_answer(self, action: int, reasoning: str) -> str:
        """The thesis that ends in a rating; plain reasoning becomes the shortest one."""
        return format_thesis(reasoning, RATING_NAMES[action], self.simple)

    def reasoning_of(self, completion: str) -> str:
        """All of a thesis before its decision."""
        return body_of(completion)

    # training ------------------------------------------------------------------------------------

    def rewards(self, example: Example, completion: str, action: int | None) -> Rewards:
        """Every component for one answer; None where the future needed for it is not in the data."""
        thesis = None if action is None else self._thesis(completion)[1]
        rated = self.rating.rewards(example, completion, action)
        account = self.accounts.rewards(example.t, example.n, action)
        text = self._text(example, completion, thesis)
        rewards: Rewards = {name: rated[name] for name in RATED}
        rewards |= dict.fromkeys(ACCOUNT) if account is None else account._asdict()
        rewards |= text
        evidence, how = text["evidence"] or 0.0, self.config.combine
        rewards[JOINT] = joint_reward(rewards, self.config.weights, evidence, how, self.config.gate)
        return rewards

    def _text(self, example: Example, completion: str, thesis: Thesis | None) -> Rewards:
        """The components of the text; those of the last body are kept, since the decisions of a group share theirs."""
        if thesis is None:
            return text_rewards(None, self.form, self.index(example))
        body = body_of(completion)
        if self._scored[:2] != (example.key, body):
            self._scored = (example.key, body, text_rewards(thesis, self.form, self.index(example)))
        return {**self._scored[2], "agreement": agreement(thesis)}

    def decisions(self, example: Example) -> Sequence[int]:
        """All ratings."""
        return RATING_VALUES

    def thesis(self, example: Example, rating: int | None) -> str:
        """The teacher's thesis without its decision: for a rating, or with both sides."""
        # From the key, so that a thesis does not depend on which others are written.
        rng = np.random.default_rng([13, *example.key.encode(), 3 if rating is None else rating + 5])
        facts = self.rating.stated(example)
        return thesis_teacher.write(self.index(example), facts, self.form, rating, rng, self.simple)

    def reasoning(self, example: Example) -> str:
        """The teacher's thesis with both sides: it is known before the outcome."""
        return self.thesis(example, None)

    def answer(self, example: Example, rating: int) -> str:
        """The teacher's thesis with this rating."""
        return self.format_answer(rating, self.thesis(example, rating if self.config.argued else None))

    def facts(self, example: Example) -> list[str]:
        """The word of each fact of the prompt."""
        return self.rating.facts(example)

    def hindsight_answer(self, example: Example) -> str | None:
        """The teacher's thesis with the label."""
        label = self.rating.label(example)
        return None if label is None else self.answer(example, RATINGS[label])

    def expert_answer(self, example: Example) -> str:
        """The teacher's thesis with the rating of plain indicator rules."""
        return self.answer(example, self.rating.expert(example)[0])

    def label(self, example: Example) -> str | None:
        """The rating that is right given the outcome."""
        return self.rating.label(example)

    def sft_examples(
        self, split: SplitName, count: int, seed: int, pool: Sequence[Example] | None = None
    ) -> list[tuple[Example, str]]:
        """Theses with the label, a share ``1 - hindsight_share`` with the expert's rating; balanced over ratings."""
        chosen = self.rating.sft_ratings(split, count, seed, pool)
        return [(example, self.answer(example, rating)) for example, rating in chosen]

    # evaluation ----------------------------------------------------------------------------------

    def metrics(self) -> Sequence[Metric]:
        """Those of the rating task, and the text's."""
        return (*METRICS, *TEXT_METRICS)

    def metric_values(self, example: Example, action: float | None) -> dict[str, float]:
        """The values behind the rating's metrics; the text's are reward components."""
        return self.rating.metric_values(example, action)

    def positions(self, example: Example, action: float | None) -> float | None:
        """Half the rating."""
        return self.rating.positions(example, action)

    def eval_score(self, example: Example, action: float | None) -> float | None:
        """The score that policies are compared by: the rating task's."""
        return self.rating.eval_score(example, action)

    def outcome_score(self, example: Example, action: float | None) -> float | None:
        """The same without the charge for risk."""
        return self.rating.outcome_score(example, action)

    def score_definition(self) -> str:
        """All that the score depends on."""
        return f"{self.rating.score_definition().rpartition(', task ')[0]}, task {self.name} {self.version}"

    def oracle_action(self, example: Example) -> int | None:
        """The rating with the highest expected score; None where it is not known."""
        return self.rating.oracle_action(example)

    def baselines(self, seed: int = 0) -> list[Answerer]:
        """Those of the rating task. Their theses are a sentence, so they have no structure and no evidence."""
        return self.rating.baselines(seed)


def instructions(form: Form, simple: bool) -> str:
    """The system message that explains a form."""
    ranges = {"sections": _range(form.sections), "bullets": _range(form.bullets), "words": str(form.opinion[0])}
    table = TABLE if form.tables else ""
    choices = CHOICES if simple else ", ".join(f"[[[{name}]]]" for name in RATINGS)
    return (SIMPLE if simple else LONG).format(**ranges, table=table, choices=choices)


def _range(limits: tuple[int, int]) -> str:
    least, most = limits
    return str(least) if least == most else f"{least} to {most}"


def _special_tokens(simple: bool) -> tuple[str, ...]:
    if simple:
        tags = [f"<{slash}{name}>" for name in ("reasoning", "support", "action") for slash in ("", "/")]
        return (*tags, *(f"<action>{name}</action>" for name in RATINGS))
    tags = [f"<{slash}{name}>" for name in ("think", "conclusion") for slash in ("", "/")]
    return (*tags, *(f"[[[{name}]]]" for name in RATINGS))
