"""Where policies answer tasks: single questions, and the loop for conversations of several turns."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from tradeschool.chat import Chat, ChatEnv, Episode, Message, Turn
from tradeschool.errors import ParseError
from tradeschool.market.panel import Floats
from tradeschool.policies.base import Answerer, Policy
from tradeschool.tasks.base import Example, SplitName, Task
from tradeschool.trace import Stop, Trace

CONSTRAINED = "constrained"
"""Where decoding is constrained, this value of a trace is 1 for an answer that could not be read without it."""
SEEDS_APART = 1_000_003
"""Of the days of an episode, where each is a conversation of its own."""

# single questions ---------------------------------------------------------------------------------


@runtime_checkable
class Chooser(Protocol):
    """A policy that says which of some answers it finds most likely."""

    def choose(self, conversations: Sequence[Sequence[Message]], choices: Sequence[Sequence[str]]) -> list[int]:
        """The place of the most likely answer to each conversation."""


def rollout(
    policy: Answerer,
    task: Task,
    examples: Sequence[Example],
    versions: dict[str, str],
    *,
    shots: Sequence[Message] = (),
    constrained: bool = False,
) -> list[Trace]:
    """Let a policy answer every example.

    Args:
        policy: gives the answers.
        task: writes the questions and scores the answers.
        examples: of the task.
        versions: recorded in every trace.
        shots: questions with answers (:func:`few_shot`), which a policy other than a rule sees before each question.
        constrained: replace an answer that cannot be read by the most likely decision after the reasoning in it
            (:func:`constrain`); the policy is a :class:`Chooser`.

    Returns:
        One scored trace for each example, in order. A bad answer becomes a trace with its parse error.
    """
    if shots and isinstance(policy, Policy):
        prompts = [_after_system(task.messages(example), shots) for example in examples]
        completions = [answers[0] for answers in policy.generate(prompts)]
    else:
        prompts, completions = [task.messages(example) for example in examples], policy.answer(task, examples)
    replaced: dict[int, str] = {}
    if constrained:
        assert isinstance(policy, Chooser)
        replaced = constrain(policy, task, examples, prompts, completions)
    traces = []
    for i, (example, prompt, completion) in enumerate(zip(examples, prompts, completions, strict=True)):
        messages = [*prompt, {"role": "assistant", "content": replaced.get(i, completion)}]
        trace = score_answer(task, example, messages, policy.name, versions)
        if constrained:
            trace.metrics[CONSTRAINED] = float(i in replaced)
        traces.append(trace)
    return traces


def few_shot(task: Task, count: int, seed: int = 0) -> list[Message]:
    """``count`` questions of the training split, each with an answer that SFT would imitate, as turns of a chat."""
    turns: list[Message] = []
    for example, text in task.sft_examples("train", count, seed)[:count]:
        asked = [message for message in task.messages(example) if message["role"] != "system"]
        turns += [*asked, {"role": "assistant", "content": text}]
    return turns


def _after_system(messages: Sequence[Message], shots: Sequence[Message]) -> list[Message]:
    head = sum(message["role"] == "system" for message in messages)
    return [*messages[:head], *shots, *messages[head:]]


def constrain(
    policy: Chooser,
    task: Task,
    examples: Sequence[Example],
    prompts: Sequence[Sequence[Message]],
    completions: Sequence[str],
) -> dict[int, str]:
    """The answers that replace unreadable ones, by place: the most likely of the task's decisions after the reasoning.

    Readable answers stay as they are, so that only unreadable ones depend on this.
    """
    choices: dict[int, list[str]] = {}
    for i, (example, text) in enumerate(zip(examples, completions, strict=True)):
        if not _readable(task, [text]):
            decisions = task.decisions(example) or ()
            for reasoning in (task.reasoning_of(text), ""):  # a reasoning may hold a marker that ends it
                choices[i] = [task.format_answer(decision, reasoning) for decision in decisions]
                if _readable(task, choices[i]):
                    break
    places = policy.choose([prompts[i] for i in choices], list(choices.values())) if choices else []
    return {i: answers[place] for (i, answers), place in zip(choices.items(), places, strict=True)}


def _readable(task: Task, texts: Sequence[str]) -> bool:
    try:
        for text in texts:
            task.parse(text)
    except ParseError:
        return False
    return True


def score_answer(task: Task, example: Example, messages: list[Message], policy: str, versions: dict[str, str]) -> Trace:
    """Score the last message as the answer to an example."""
    completion = messages[-1]["content"]
    stop: Stop = "answered"
    action, error = None, None
    try:
        action = task.parse(completion)
    except ParseError as problem:
        stop, error = "parse_error", str(problem)
    return Trace(
        key=example.key,
        task=task.name,
        policy=policy,
        messages=messages,
        rewards=task.rewards(example, completion, action),
        stop=stop,
        action=None if action is None else task.action_name(action),
        label=task.label(example),
        error=error,
        metrics=task.trace_metrics(example, action),
        versions=versions,
    )


# conversations ------------------------------------------------------------------------------------


@runtime_checkable
class MultiTurnTask(Protocol):
    """What a :class:`~tradeschool.tasks.base.Task` has in addition where an example begins a conversation.

    With metrics, and ``Task.episode_metrics``, it is evaluated by the stage ``evaluate`` too.
    """

    @property
    def turn_discounts(self) -> Mapping[str, float] | None:
        """For turn-level advantages: by component, how much the reward of a turn counts for the answer before it.

        None where all answers of an episode share the episode's sum.
        """

    def chat_env(self, split: SplitName) -> ChatEnv:
        """An environment for conversations about examples of a split."""

    def episode_rewards(self, episodes: Sequence[Episode]) -> dict[str, Floats]:
        """Rewards by component, [D turns, B episodes]; 0 or less where an episode had ended."""

    def variant(self, example: Example, number: int) -> Example:
        """The example with other draws of what is random in it; the example itself where nothing is."""


def run_episodes(
    chat: Chat,
    envs: Sequence[ChatEnv],
    examples: Sequence[Example],
    *,
    seeds: Sequence[int] | None = None,
    shots: Sequence[Message] = (),
    max_turns: int | None = None,
    on_turn: Callable[[int], None] = lambda count: None,
) -> list[Episode]:
    """Play B conversations side by side: for training, evaluation, demonstrations, remote servers and people.

    Args:
        chat: the policy's side.
        envs: an environment for each conversation.
        examples: what the environments are reset to.
        seeds: of what the policy draws in each conversation.
        shots: turns with answers that the policy sees at the beginning of every conversation, behind the rules. They
            are not part of the episodes.
        max_turns: ends every conversation after this many answers.
        on_turn: called with B after every turn.

    Returns:
        The episodes, in order. Where the policy has no room left for an answer, the environment is given "".
    """
    episodes = [Episode(example, env, list(env.reset(example))) for env, example in zip(envs, examples, strict=True)]
    chat.start([_after_system(episode.messages, shots) for episode in episodes], seeds)
    next_B: list[list[Message]] = [[] for _ in episodes]
    live_B = [True] * len(episodes)
    turn = 0
    while any(live_B):
        for b, (episode, completion) in enumerate(zip(episodes, chat.answer(live_B), strict=True)):
            if live_B[b]:
                if completion is not None:
                    episode.messages += [*next_B[b], {"role": "assistant", "content": completion}]
                result = episode.env.step(completion or "")
                episode.turns.append(Turn(completion, result))
                live_B[b] = not result.done
                next_B[b] = result.messages if live_B[b] else []
        on_turn(len(episodes))
        turn += 1
        if turn == max_turns:
            break
        if any(live_B):
            if any(episode.turns[-1].result.info.get("restart") for episode in episodes):
                # A conversation that is over needs messages too; its answers are not asked for.
                openings = [one or episode.messages[:1] for one, episode in zip(next_B, episodes, strict=True)]
                openings = [_after_system(one, shots) for one in openings]
                chat.start(openings, None if seeds is None else [seed + SEEDS_APART * turn for seed in seeds])
            else:
                chat.add_user_turn(next_B)
    return episodes


def rollout_episodes(
    policy: Policy,
    task: Task,
    examples: Sequence[Example],
    versions: dict[str, str],
    *,
    split: SplitName,
    batch: int,
    on_batch: Callable[[int], None] = lambda count: None,
) -> list[Trace]:
    """Let a policy play an episode of every example, ``batch`` of them side by side.

    Returns:
        One trace for each episode, in order, with the sums of its rewards by component.
    """
    assert isinstance(task, MultiTurnTask)
    traces: list[Trace] = []
    for first in range(0, len(examples), batch):
        part = examples[first : first + batch]
        episodes = run_episodes(policy.chat(), [task.chat_env(split) for _ in part], part)
        rewards = {name: value_DB.sum(0).tolist() for name, value_DB in task.episode_rewards(episodes).items()}
        traces += [
            _score_episode(task, episode, {name: sums[b] for name, sums in rewards.items()}, policy.name, versions)
            for b, episode in enumerate(episodes)
        ]
        on_batch(len(traces))
    return traces


def _score_episode(
    task: Task, episode: Episode, rewards: dict[str, float | None], policy: str, versions: dict[str, str]
) -> Trace:
    """Its action is that of the last answer, None where any answer could not be read."""
    infos = [turn.result.info for turn in episode.turns]
    action = None if episode.unread or episode.out_of_room else infos[-1].get("action")
    return Trace(
        key=episode.example.key,
        task=task.name,
        policy=policy,
        messages=episode.messages,
        rewards=rewards,
        stop=episode.stop,
        action=None if action is None else task.action_name(action),
        error=next((info["error"] for info in infos if info.get("error")), None),
        metrics={name: value for name, value in task.episode_metrics(episode).items() if math.isfinite(value)},
        versions=versions,
    )
