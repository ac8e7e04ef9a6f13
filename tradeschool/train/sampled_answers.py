"""Several sampled answers of a language model to each of some questions, with their rewards."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tradeschool.chat import Episode, Message
from tradeschool.errors import ParseError, RecipeError
from tradeschool.models.chat_renderer import ChatRenderer, end_tokens, positions_of
from tradeschool.models.load import ModelConfig, check_room, load
from tradeschool.policies.base import Policy
from tradeschool.policies.language import LanguagePolicy
from tradeschool.rollout import MultiTurnTask, run_episodes
from tradeschool.tasks.base import Example, Rewards, Task
from tradeschool.train.selection import Answer

Ask = Callable[[list[Example], int], list[list[Answer]]]
"""Answers to each of some questions; the number is a seed."""


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn.

    Attributes:
        key: the recipe key of ``max_new_tokens``, for messages.
        n: answers to each question.
        temperature: above 0.
        max_new_tokens: of one answer.
        batch_size: answers of one forward pass.
    """

    key: str
    n: int
    temperature: float
    max_new_tokens: int
    batch_size: int


def asker(task: Task, source: str, config: ModelConfig, sampling: Sampling) -> Ask:
    """A model, as a function of questions and a seed.

    Args:
        task: of the questions.
        source: a folder or Hub name.
        config: how to load it.
        sampling: how answers are drawn.
    """
    import torch

    model, tokenizer = load(source, config)
    model.eval()
    renderer = ChatRenderer.of(tokenizer, end_tokens(model, tokenizer))
    policy = LanguagePolicy(
        model,
        tokenizer,
        name="sampled",
        kind="trained",
        max_new_tokens=sampling.max_new_tokens,
        temperature=sampling.temperature,
        batch_size=sampling.batch_size,
    )

    def ask(examples: list[Example], seed: int) -> list[list[Answer]]:
        torch.manual_seed(seed)
        if isinstance(task, MultiTurnTask):
            return episodes(task, policy, examples, sampling.n, seed)
        prompts = [task.messages(example) for example in examples]
        check_room(sampling.key, prompts, renderer, sampling.max_new_tokens, positions_of(model))
        texts = _sampled(model, renderer, prompts, sampling) or policy.generate(prompts, sampling.n)
        return [
            [_scored(task, example, messages, text) for text in own]
            for example, messages, own in zip(examples, prompts, texts, strict=True)
        ]

    return ask


def _sampled(model: Any, renderer: ChatRenderer, prompts: list[list[Message]], sampling: Sampling) -> list[list[str]]:
    """The answers, with the prompt computed once for all answers to it; empty for models that do not support that."""
    from transformers import LogitsProcessorList, TemperatureLogitsWarper

    from tradeschool.train.prefix_tree import check_supported, sample

    try:
        check_supported(model.config)
    except RecipeError:
        return []
    inputs = renderer.prompt_batch(prompts).to(model.device)
    tokens_PGC = sample(
        model,
        inputs.input_ids,
        inputs.attention_mask,
        sampling.n,
        max_new_tokens=sampling.max_new_tokens,
        ends=list(renderer.ends),
        warp=LogitsProcessorList([TemperatureLogitsWarper(sampling.temperature)]),
    )
    return [[renderer.decode(ids) for ids in own] for own in tokens_PGC.tolist()]


def _scored(task: Task, example: Example, messages: list[Message], text: str) -> Answer:
    try:
        action = task.parse(text)
    except ParseError:
        action = None
    rewards = task.rewards(example, text, action)
    return Answer(messages, text, rewards, task.total(rewards), None if action is None else task.action_name(action))


def episodes(task: Task, policy: Policy, examples: Sequence[Example], n: int, seed: int) -> list[list[Answer]]:
    """``n`` episodes of each example, side by side."""
    assert isinstance(task, MultiTurnTask)
    repeated = [example for example in examples for _ in range(n)]
    envs = [task.chat_env("train") for _ in repeated]
    played = run_episodes(policy.chat(), envs, repeated, seeds=[seed + place for place in range(len(repeated))])
    sums = {name: value_DB.sum(0).tolist() for name, value_DB in task.episode_rewards(played).items()}
    answers = [
        _scored_episode(task, episode, {name: of[b] for name, of in sums.items()}) for b, episode in enumerate(played)
    ]
    return [answers[first : first + n] for first in range(0, len(answers), n)]


def _scored_episode(task: Task, episode: Episode, rewards: Rewards) -> Answer:
    last = max((i for i, one in enumerate(episode.messages) if one["role"] == "assistant"), default=0)
    action = None if episode.unread or episode.out_of_room else episode.turns[-1].result.info.get("action")
    name = None if action is None else task.action_name(action)
    return Answer(episode.messages[:last], episode.messages[last]["content"], rewards, task.total(rewards), name)
