"""A policy meets a task: traces come out."""

import math
from collections.abc import Sequence

from tradeschool.errors import ParseError
from tradeschool.policies.base import Policy
from tradeschool.tasks.base import Example, Task
from tradeschool.trace import Stop, Trace


def rollout(policy: Policy, task: Task, examples: Sequence[Example], versions: dict[str, str]) -> list[Trace]:
    """Ask a policy every example; one scored trace each, in order. A bad answer becomes a trace that says so."""
    prompts = [task.prompt(example) for example in examples]
    replies = policy.reply(prompts)
    return [
        judge(task, example, [*prompt.messages, {"role": "assistant", "content": reply}], policy.name, versions)
        for example, prompt, reply in zip(examples, prompts, replies, strict=True)
    ]


def judge(task: Task, example: Example, messages: list[dict[str, str]], policy: str, versions: dict[str, str]) -> Trace:
    """Score the last message as the answer to an example."""
    reply = messages[-1]["content"]
    stop: Stop = "answered"
    action, error = None, None
    try:
        action = task.parse(reply)
    except ParseError as problem:
        stop, error = "parse_error", str(problem)
    metrics = {name: value for name, value in task.metrics(example, action).items() if math.isfinite(value)}
    return Trace(
        key=example.key,
        task=task.name,
        policy=policy,
        messages=messages,
        rewards=task.score(example, reply, action),
        stop=stop,
        action=None if action is None else task.action_name(action),
        error=error,
        metrics=metrics,
        versions=versions,
    )
