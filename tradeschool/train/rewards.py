"""The task's reward components as TRL reward functions, and what their spread says about the training."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from tradeschool.errors import ParseError
from tradeschool.tasks.base import Example, Rewards, Task

Text = str | list[dict[str, str]]
Read = Callable[[Sequence[int]], str]
LogMetric = Callable[[str, float], None]


class _Scorer:
    """Scores a batch of completions once for all components."""

    def __init__(self, task: Task, group: int, read: Read | None) -> None:
        self._task, self._group, self._read = task, group, read
        self._batch: object = None
        self._scored: list[Rewards] = []

    def scores(self, completions: Sequence[Text], columns: dict[str, Any]) -> list[Rewards]:
        """The rewards of every completion; TRL hands the same list object to every component."""
        if self._batch is not completions:
            texts = self._texts(completions, columns)
            examples = [Example(*row) for row in zip(columns["key"], columns["t"], columns["n"], strict=True)]
            self._scored, actions = self._score(examples, texts)
            self._batch = completions
            if log := columns.get("log_metric"):
                self._log(log, actions)
        return self._scored

    def _texts(self, completions: Sequence[Text], columns: dict[str, Any]) -> list[str]:
        if self._read is not None:
            return [self._read(ids) for ids in columns["completion_ids"]]
        return [_content(completion) for completion in completions]

    def _score(self, examples: list[Example], texts: list[str]) -> tuple[list[Rewards], list[Any]]:
        known: dict[tuple[str, str], tuple[Rewards, Any]] = {}
        for example, text in zip(examples, texts, strict=True):
            if (example.key, text) not in known:
                action = _parse(self._task, text)
                known[example.key, text] = (self._task.score(example, text, action), action)
        both = [known[example.key, text] for example, text in zip(examples, texts, strict=True)]
        return [rewards for rewards, _ in both], [action for _, action in both]

    def _log(self, log: LogMetric, actions: list[Any]) -> None:
        """Parse errors, the distribution of answers, and components that cannot teach anything."""
        log("parse_errors", sum(action is None for action in actions) / len(actions))
        counts = Counter(self._task.action_name(action) for action in actions if action is not None)
        for name in self._task.action_names:
            log(f"answers/{name}", counts[name] / len(actions))
        for name in self._task.weights:
            log(f"constant_in_group/{name}", self._constant_share([rewards[name] for rewards in self._scored]))
        # TRL's own figure is 0 whenever advantages are scaled by the batch.
        log("zero_variance_groups", self._constant_share([self._task.total(rewards) for rewards in self._scored]))

    def _constant_share(self, values: list[float | None]) -> float:
        """The share of groups in which all values are equal."""
        groups = [values[i : i + self._group] for i in range(0, len(values), self._group)]
        return sum(len(set(group)) == 1 for group in groups) / len(groups)


def _content(completion: Text) -> str:
    return completion if isinstance(completion, str) else completion[0]["content"]


def _parse(task: Task, text: str) -> Any | None:
    try:
        return task.parse(text)
    except ParseError:
        return None  # a bad answer is data: its score says so, and the share of them is logged


def reward_functions(task: Task, group: int, read: Read | None = None) -> list[Callable[..., list[float | None]]]:
    """One reward function per component, named as the component, in the order of ``task.weights``.

    Args:
        task: scores the answers.
        group: how many answers in a row are to the same question.
        read: the text of an answer's tokens (``models.turn.Turn.decode``). TRL's own leaves out what the prompt has
            begun of an answer, and of tokenizers with a ``response_template`` all thinking; without ``read`` that is
            what is scored.
    """
    scorer = _Scorer(task, group, read)

    def component(name: str) -> Callable[..., list[float | None]]:
        def reward(completions: Sequence[Text], **columns: Any) -> list[float | None]:
            return [rewards[name] for rewards in scorer.scores(completions, columns)]

        reward.__name__ = name
        return reward

    return [component(name) for name in task.weights]
