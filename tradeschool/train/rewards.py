"""What answers are rewarded with: the task's components as TRL reward functions, and turn-level advantages.

Shapes: D turns, B episodes of a batch, G episodes of a group (which have the same example, one after another).
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tradeschool.chat import Episode
from tradeschool.errors import ParseError
from tradeschool.market.panel import Floats
from tradeschool.tasks.base import Example, Rewards, Task

Text = str | list[dict[str, str]]
Decode = Callable[[Sequence[int]], str]
RewardFunction = Callable[..., list[float | None]]
OnScored = Callable[[Sequence[Example], Sequence[Any | None], Sequence[Rewards]], None]
"""Is given examples, actions (None where an answer cannot be read) and rewards."""
Bools = NDArray[np.bool_]
ZERO = 1e-9
"""An advantage smaller than this is zero: equal rewards leave a rounding error."""

# single questions ---------------------------------------------------------------------------------


def reward_functions(
    task: Task,
    group: int,
    examples: Sequence[Example],
    decode: Decode | None = None,
    sampled: bool = True,
    on_scored: OnScored | None = None,
) -> list[RewardFunction]:
    """One reward function for each component, with the component's name, in the order of ``task.weights``.

    Args:
        task: scores the answers.
        group: how many answers in a row are to the same question.
        examples: of the training dataset, whose column ``example`` holds their index.
        decode: the text of an answer's tokens (``ChatRenderer.decode``). TRL's own text leaves out the part of an
            answer that the prompt has begun, and all thinking of tokenizers with a ``response_template``. Without
            ``decode`` TRL's text is scored.
        sampled: whether the answers are the policy's, so that their shares are logged.
        on_scored: is given every answer.
    """
    batch: Sequence[Text] = ()
    scored: list[Rewards] = []

    def scores(completions: Sequence[Text], columns: dict[str, Any]) -> list[Rewards]:
        """The rewards of every completion. TRL passes the same list object to every component."""
        nonlocal batch, scored
        if batch is not completions:
            if decode is None:
                texts = [one if isinstance(one, str) else one[0]["content"] for one in completions]
            else:
                texts = [decode(ids) for ids in columns["completion_ids"]]
            asked = [examples[i] for i in columns["example"]]
            scored, actions = _scored(task, asked, texts)
            batch = completions
            if on_scored is not None:
                on_scored(asked, actions, scored)
            if sampled and (log := columns.get("log_metric")):
                for name, share in (_spread(task, group, scored, actions) | label_shares(task, asked)).items():
                    log(name, share)
        return scored

    def component(name: str) -> RewardFunction:
        def reward(completions: Sequence[Text], **columns: Any) -> list[float | None]:
            return [rewards[name] for rewards in scores(completions, columns)]

        reward.__name__ = name
        return reward

    return [component(name) for name in task.weights]


def _scored(task: Task, examples: Sequence[Example], texts: Sequence[str]) -> tuple[list[Rewards], list[Any]]:
    """Rewards and actions, None where an answer cannot be read. Equal answers to a question are scored once."""
    known: dict[tuple[str, str], tuple[Rewards, Any]] = {}
    for example, text in zip(examples, texts, strict=True):
        if (example.key, text) not in known:
            try:
                action = task.parse(text)
            except ParseError:
                action = None
            known[example.key, text] = (task.rewards(example, text, action), action)
    both = [known[example.key, text] for example, text in zip(examples, texts, strict=True)]
    return [rewards for rewards, _ in both], [action for _, action in both]


def _spread(task: Task, group: int, scored: Sequence[Rewards], actions: Sequence[Any]) -> dict[str, float]:
    """Parse errors, the distribution of answers, and the share of groups in which a component teaches nothing."""

    def constant(values: list[float | None]) -> float:
        groups = [values[i : i + group] for i in range(0, len(values), group)]
        return sum(len(set(one)) == 1 for one in groups) / len(groups)

    return {
        **_answer_shares(task, actions),
        **{f"constant_in_group/{name}": constant([rewards[name] for rewards in scored]) for name in task.weights},
        # TRL's own figure is 0 whenever advantages are scaled by the batch.
        "zero_variance_groups": constant([task.total(rewards) for rewards in scored]),
    }


def _answer_shares(task: Task, actions: Sequence[Any]) -> dict[str, float]:
    """The share of answers that cannot be read, and of each class."""
    counts = Counter(task.action_name(action) for action in actions if action is not None)
    shares = {"parse_errors": sum(action is None for action in actions) / len(actions)}
    return shares | {f"answers/{name}": counts[name] / len(actions) for name in task.action_names}


def label_shares(task: Task, examples: Sequence[Example]) -> dict[str, float]:
    """The share of each class by the outcomes, to compare with that of the answers; empty where none has a class."""
    known = [name for example in examples if (name := task.label(example)) is not None]
    counts = Counter(known)
    return {f"labels/{name}": counts[name] / len(known) for name in task.action_names if known}


# episodes -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class States:
    """In which states the answers of B episodes were given.

    Attributes:
        live_DB: [D, B] whether the episode still ran.
        keys: by turn and episode, the state; answers are compared within a group, a turn and a state.
    """

    live_DB: Bools
    keys: Sequence[Sequence[Hashable]]

    @classmethod
    def of(cls, episodes: Sequence[Episode]) -> "States":
        """The states that the environments named in ``info["state"]``."""
        turns = max(len(episode.turns) for episode in episodes)
        live_DB = np.arange(turns)[:, None] < np.array([len(episode.turns) for episode in episodes])
        infos = [[turn.result.info for turn in episode.turns] for episode in episodes]
        return cls(live_DB, [[own[d].get("state") if d < len(own) else None for own in infos] for d in range(turns)])

    def alone(self, group: int) -> Bools:
        """[D, B] whether an answer is alone in its state in its group."""
        alone_DB = np.zeros(self.live_DB.shape, np.bool_)
        for d, b, _, same in self._peers(group):
            alone_DB[d, b] = len(same) == 1
        return alone_DB

    def above_peers(self, value_DB: Floats, group: int) -> Floats:
        """[D, B] the difference to the mean of the same state; of the group where an answer is alone in its state."""
        above_DB = np.zeros_like(value_DB)
        for d, b, alive, same in self._peers(group):
            above_DB[d, b] = value_DB[d, b] - value_DB[d, same if len(same) > 1 else alive].mean()
        return above_DB

    def _peers(self, group: int) -> Iterator[tuple[int, int, list[int], list[int]]]:
        """For each live answer d, b: the live episodes of its group, and those of them in its state."""
        for d, keys_B in enumerate(self.keys):
            for first in range(0, len(keys_B), group):
                alive = [b for b in range(first, first + group) if self.live_DB[d, b]]
                for b in alive:
                    yield d, b, alive, [other for other in alive if keys_B[other] == keys_B[b]]


def turn_advantages(
    rewards: Mapping[str, Floats],
    states: States,
    weights: Mapping[str, float],
    discounts: Mapping[str, float],
    group: int,
    scale: str = "batch",
) -> Floats:
    """How much the discounted rewards from each turn on exceed those from the same state, over their spread.

    The episodes of a group are in the same market on the same day. An answer is compared with those given in the same
    state, after the anchor states of GiGPO (Feng et al. 2025, arXiv 2505.10978). Compared with the whole group, it
    would get credit for the effect of earlier answers. An answer that is alone in its state is compared with
    the group. Turns after an episode's end get 0.

    Args:
        rewards: [D, B] by component.
        states: of the answers.
        weights: of the components.
        discounts: by component, what a later turn's reward counts for an earlier answer.
        group: G.
        scale: TRL's ``scale_rewards``: divide by the standard deviation in the batch, in the group, or not ("none").

    Returns:
        [D, B] advantages.
    """
    ahead = [weights[name] * rewards_to_go(value_DB, discounts[name]) for name, value_DB in rewards.items()]
    above_DB = states.above_peers(np.sum(ahead, axis=0), group)
    if scale == "none":
        return above_DB
    by_group = above_DB.reshape(len(above_DB), -1, group).std(axis=(0, 2))
    spread = above_DB.std() if scale == "batch" else np.repeat(by_group, group)
    advantages_DB: Floats = above_DB / (spread + 1e-4)
    return advantages_DB


def rewards_to_go(reward_DB: Floats, discount: float) -> Floats:
    """[D, B] the sum of rewards from each turn on, each later turn multiplied by ``discount`` once more."""
    sum_DB = reward_DB.copy()
    for d in range(len(sum_DB) - 2, -1, -1):
        sum_DB[d] += discount * sum_DB[d + 1]
    return sum_DB


def logged_shares(
    episodes: Sequence[Episode], task: Task, states: States, group: int, advantages_DB: Floats | None
) -> dict[str, float]:
    """What is logged of a batch.

    Shares of all answers: ``parse_errors``, ``answers/CLASS``, and where advantages are by turn, ``advantage/alone``
    (alone in their state) and ``advantage/zero``. Share of the episodes: ``out_of_room``.
    """
    turns = [turn for episode in episodes for turn in episode.turns if turn.completion is not None]
    shares = _answer_shares(task, [turn.result.info.get("action") for turn in turns])
    shares["out_of_room"] = sum(episode.out_of_room for episode in episodes) / len(episodes)
    if advantages_DB is not None:
        answered_DB = np.zeros(states.live_DB.shape, np.bool_)
        for b, episode in enumerate(episodes):
            answered_DB[: len(episode.turns), b] = [turn.completion is not None for turn in episode.turns]
        shares["advantage/alone"] = float(states.alone(group)[answered_DB].mean())
        zero_DB = np.abs(advantages_DB[: len(answered_DB)]) < ZERO
        shares["advantage/zero"] = float(zero_DB[answered_DB].mean())
    return shares
