"""Learning from rewards by TRL's GRPOTrainer: GRPO, GVPO or PPO, with groups of sampled answers or of all decisions."""

import json
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from tradeschool.errors import RecipeError
from tradeschool.manifest import replace_text
from tradeschool.models.chat_renderer import ChatRenderer, end_tokens, positions_of
from tradeschool.models.load import TRIED, LoraConfig, check_room, refuse_too_long
from tradeschool.progress import status
from tradeschool.rollout import MultiTurnTask
from tradeschool.tasks.base import Example, Task, Weights
from tradeschool.train.curriculum import CurriculumConfig, Log, select_examples
from tradeschool.train.options import ONLY_IN_TRL_LOSS
from tradeschool.train.stage import OUTCOMES, CheckContext, Context, Result, StageConfig, weighted

TRL = "trl:GRPOConfig"
MAKES = "language"
ONLY_IN_TRL_GENERATION = {
    "cache_implementation": None,
    "generation_kwargs": None,
    "repetition_penalty": 1.0,
    "use_vllm": False,
}
"""Fields that only TRL's own generation reads, and their defaults."""
QUESTIONS = 64
"""In a step with decision groups, by default."""
EPISODES = 16
"""In a step with decision groups of episodes, by default."""
SHOWN = ("reward", "entropy", "decision_entropy", "shrinkage", "kl")
SHRINKAGE = "shrinkage.json"
"""Estimates of ``train/shrinking.py``, in the stage's folder."""
FIRST_VARIANT = 1_000
"""GRPO's episodes have variants from this number on, so that they differ from those of SFT's demonstrations."""


class Config(CurriculumConfig, StageConfig):
    """The ``grpo`` stage.

    ``questions``: how many training questions to draw from. ``model``: the stage whose weights to start from.
    ``by_date`` keeps the questions of a date together, dates in random order. In a batch of whole dates what moves all
    stocks alike cancels, and cannot push all answers to one side. Otherwise questions are shuffled one by one.

    ``objective``: ``grpo``, the policy gradient with group-relative advantages (Shao et al. 2024, arXiv 2402.03300);
    ``gvpo``, regression of log-probabilities onto rewards (Zhang et al. 2025, arXiv 2504.19599), with the temperature
    ``tau`` in standard deviations of the reward; or ``ppo``, the clipped policy gradient with a critic of
    ``critic_learning_rate`` and advantages by ``gae_lambda`` (``train/ppo_language.py``). ``group``: ``sampled``
    answers, ``num_generations`` a question; or ``decisions``, all decisions of a question behind one reasoning, where
    one outcome reveals the reward of each (``train/decision_groups.py``). They need no generation: the reasoning is the
    task's own, unless ``reasonings`` says how many to sample for each question. ``sft_weight`` is that of the
    cross-entropy of the tokens around the decision. ``shrink`` multiplies the part of the rewards that depends on the
    outcome by what the policy's forecasts are worth on the validation dates (``train/shrinking.py``).

    ``lora`` trains new adapters on top of the weights and adapters of the stages before, whatever ``model.lora`` says.
    ``trl.beta`` weighs the KL divergence from the model that the stage starts from: of sampled tokens, and in groups of
    decisions without sampled reasonings of the decisions. ``log_answers`` writes every answer beside what happened
    (``train/tracker.py``). ``weights`` replaces those of the task in this stage, for a curriculum over rewards.

    In a task of episodes a question starts an episode; all its answers are the completion
    (``train/grpo_trainers.py``), their order is random, and ``share_prefix`` has no effect. Otherwise ``share_prefix``
    computes what the answers of a group share once (``train/prefix_tree.py``). Set it to false for a model that does
    not support 4-D attention masks, or to generate with vLLM; TRL then renders the prompts itself, and text in the news
    that spells a marker of the chat template becomes that marker.
    """

    questions: int = Field(default=20_000, ge=1, le=10_000_000)
    by_date: bool = True
    share_prefix: bool = True
    model: str | None = None
    objective: Literal["grpo", "gvpo", "ppo"] = "grpo"
    group: Literal["sampled", "decisions"] = "sampled"
    reasonings: int = Field(default=0, ge=0, le=64)
    shrink: bool = True
    tau: float = Field(default=0.3, gt=0, le=100)
    sft_weight: float = Field(default=1.0, ge=0, le=100)
    gae_lambda: float = Field(default=0.95, ge=0, le=1)
    critic_learning_rate: float = Field(default=1e-3, gt=0, le=1)
    lora: LoraConfig | None = None
    log_answers: bool = False
    weights: Weights | None = None


def check(config: Config, context: CheckContext) -> None:
    """Refuse a task without rewards, and values that would fail during training or have no effect.

    Raises:
        RecipeError: one of these is the case.
    """
    from tradeschool.train.trl_config import refuse_no_steps

    context = weighted(config.weights, context)
    task, name = context.task, config.name
    if not any(task.weights.values()):
        raise RecipeError(
            f"stages.{name}: the task '{task.name}' has no reward with a weight above 0, so nothing would be learned."
        )
    if task.episodic and not isinstance(task, MultiTurnTask):
        raise RecipeError(f"stages.{name}: the task '{task.name}' has episodes but no chat_env() to play them in.")
    if config.lora and getattr(context.model, "load_in_4bit", False) and context.models and context.model.lora:
        raise RecipeError(
            f"stages.{name}.lora: adapters of earlier stages would be merged into weights of 4 bits, which loses "
            "quality. Remove it, to train those adapters on, or set model.load_in_4bit: false."
        )
    if config.log_answers and task.episodic:
        raise RecipeError(f"stages.{name}.log_answers has no effect in episodes. Remove it.")
    _check_group(config, task, context.model)
    _check_generation(config, task, context.model)
    args = trl_arguments(config, task, Path("unused"), context.seed)
    batch = args.per_device_train_batch_size * args.steps_per_generation
    if (task.episodic or config.share_prefix) and batch % args.num_generations:
        raise RecipeError(
            f"stages.{name}.trl: per_device_train_batch_size x steps_per_generation is {batch}, which is not a "
            f"multiple of num_generations {args.num_generations}. Change one of them."
        )
    _check_resumable(f"stages.{name}.trl", args)
    examples = task.examples("train")
    count = config.questions
    if not task.episodic:  # episodes begin again, with other draws
        count = min(count, len(_pool(config, context)))
    refuse_no_steps(name, count, args)
    if task.episodic and config.group == "decisions":
        return
    prompts = [task.messages(example) for example in examples[:: len(examples) // TRIED + 1]]
    key = f"stages.{name}.trl.max_completion_length"
    refuse_too_long(key, context.model, task, prompts, args.max_completion_length)


def _check_group(config: Config, task: Task, model: Any) -> None:
    """Refuse groups and objectives that the task or other keys do not allow."""
    where = f"stages.{config.name}"
    if task.episodic:
        _check_episodes(config, task, model)
        return
    if (config.objective != "grpo" or config.group == "decisions") and not config.share_prefix:
        raise RecipeError(f"{where}.share_prefix: objectives gvpo and ppo and group decisions need it. Set it to true.")
    _check_ppo(config, where)
    if config.group == "sampled":
        if config.objective == "gvpo" and "beta" in config.trl:
            raise RecipeError(f"{where}.trl.beta: with objective gvpo it is tau. Remove it and set {where}.tau.")
        if config.reasonings:
            raise RecipeError(f"{where}.reasonings has no effect with group: sampled. Remove it.")
        return
    if not _decisions(task):
        raise RecipeError(f"{where}.group: the task '{task.name}' has no finite set of decisions. Use group: sampled.")
    if "num_generations" in config.trl:
        raise RecipeError(
            f"{where}.trl.num_generations: with group: decisions a group is the {_decisions(task)} decisions of a "
            "question. Remove it; reasonings says how many reasonings to sample for each question."
        )
    group, batch = _group_size(config, task), config.trl.get("per_device_train_batch_size")
    if isinstance(batch, int) and batch % group:
        raise RecipeError(
            f"{where}.trl.per_device_train_batch_size is {batch}, which is not a multiple of {group}, the answers of a "
            f"question. Use {max(round(batch / group), 1) * group}."
        )
    if not config.reasonings and task.reasoning(task.examples("train")[0]) is None:
        raise RecipeError(
            f"{where}.group: the task '{task.name}' knows no reasoning to decide after. Set reasonings: 1 or more, to "
            "have the model write it."
        )


def _check_ppo(config: Config, where: str) -> None:
    """Refuse groups of decisions, which leave a critic nothing to do, and its settings where there is no critic."""
    if config.objective == "ppo" and config.group == "decisions":
        raise RecipeError(f"{where}.group: ppo learns from sampled answers. Set group: sampled, or objective: gvpo.")
    for key in ("gae_lambda", "critic_learning_rate") if config.objective != "ppo" else ():
        if getattr(config, key) != Config.model_fields[key].default:
            raise RecipeError(f"{where}.{key} has no effect with objective: {config.objective}. Remove it.")


def _check_episodes(config: Config, task: Task, model: Any) -> None:
    """The same for a task of episodes."""
    where = f"stages.{config.name}"
    if config.reasonings:
        raise RecipeError(f"{where}.reasonings has no effect in episodes. Remove it.")
    if config.group == "decisions":
        from tradeschool.train.what_if import check_what_if

        check_what_if(where, task, model)
        return
    if (question := getattr(getattr(task, "config", None), "question", "episode")) != "episode":
        raise RecipeError(
            f"{where}.group: with task.question: {question} an episode is not one conversation. Use group: decisions."
        )
    if config.objective == "gvpo":
        raise RecipeError(f"{where}.objective: in the episodes of '{task.name}' gvpo needs group: decisions. Set it.")
    if config.objective == "ppo":
        raise RecipeError(f"{where}.objective: ppo of a language model plays no episodes. Use grpo, or the stage ppo.")


def _decisions(task: Task) -> int:
    """How many decisions a question has; 0 where they are not finite."""
    examples = task.examples("train")
    return len(task.decisions(examples[0]) or ()) if examples else 0


def _group_size(config: Config, task: Task) -> int:
    """How many answers of a question a batch holds in groups of decisions."""
    return _decisions(task) * max(config.reasonings, 1)


def _check_generation(config: Config, task: Task, model: Any) -> None:
    """Refuse keys that our own generation and losses do not read."""
    where, trl = f"stages.{config.name}.trl", config.trl
    own_loss = config.objective == "gvpo" or config.group == "decisions"
    if own_loss and (unread := [key for key in ONLY_IN_TRL_LOSS if key in trl]):
        which = "objective: gvpo" if config.objective == "gvpo" else "group: decisions"
        raise RecipeError(f"{where}.{unread[0]} has no effect with {which}, which has a loss of its own. Remove it.")
    if task.episodic and trl.get("loss_type") == "dr_grpo":
        raise RecipeError(
            f"{where}.loss_type: dr_grpo divides by max_completion_length, which is that of one answer here and not "
            "of the episode. Remove it, or use dapo or grpo."
        )
    ours = config.share_prefix or task.episodic
    for key, default in ONLY_IN_TRL_GENERATION.items():
        if ours and trl.get(key, default) not in (default, None):
            cure = "Remove it." if task.episodic else "Remove it, or set share_prefix: false."
            raise RecipeError(f"{where}.{key} has no effect on how answers are sampled here. {cure}")
    attention = getattr(model, "attention", "auto")
    if config.share_prefix and not task.episodic and attention not in ("auto", "eager", "sdpa"):
        raise RecipeError(
            f"stages.{config.name}.share_prefix needs 4-D attention masks, which model.attention '{attention}' does "
            "not support. Use eager or sdpa, or set share_prefix: false."
        )


def _check_resumable(where: str, args: Any) -> None:
    """A checkpoint holds no completions, so it must fall on a step that generates new ones."""
    completions = args.steps_per_generation * args.num_iterations
    steps = completions // math.gcd(completions, args.gradient_accumulation_steps)
    if steps == 1 or args.save_strategy == "no":
        return
    by_steps = args.save_strategy == "steps"
    if not by_steps or args.save_steps % steps:
        given = f"save_steps {args.save_steps:g}" if by_steps else f"save_strategy {args.save_strategy.value}"
        raise RecipeError(
            f"{where}: save_steps must be a multiple of {steps}, because completions serve {steps} steps "
            f"(steps_per_generation, num_iterations), but the recipe has {given}. A run resumed in between would end "
            "differently."
        )


def trl_arguments(config: Config, task: Task, folder: Path, seed: int) -> Any:
    """TRL's GRPOConfig."""
    from trl import GRPOConfig

    from tradeschool.train.trl_config import trl_config

    fixed = {"remove_unused_columns": False, "reward_weights": list(task.weights.values())}
    defaults: dict[str, Any] = {"shuffle_dataset": not config.by_date, "scale_rewards": "batch"}
    if task.episodic and config.group == "decisions":
        defaults |= {"num_generations": 2, "per_device_train_batch_size": EPISODES}
    elif config.group == "decisions":
        group = _group_size(config, task)
        questions = max(QUESTIONS // max(int(config.trl.get("gradient_accumulation_steps", 1)), 1), 1)
        defaults |= {"num_generations": group, "per_device_train_batch_size": questions * group}
    elif config.objective == "gvpo":
        defaults["beta"] = config.tau
    return trl_config(GRPOConfig, config, folder, seed, defaults=defaults, fixed=fixed)


def run(config: Config, context: Context) -> Result:
    """Train on the task's rewards. Weights go to ``weights/`` in the stage's folder."""
    from datasets import Dataset

    from tradeschool.train.tracker import Tracker
    from tradeschool.train.trainer import finish, start, train
    from tradeschool.train.trl_config import refused

    context = weighted(config.weights, context)
    model, tokenizer, peft = start(config.model, context, config.lora)
    args = trl_arguments(config, context.task, context.folder, context.seed)
    renderer = ChatRenderer.of(tokenizer, end_tokens(model, tokenizer))
    with status(context.console, "Writing questions"):
        examples = training_examples(config, context)
        rows = dataset_rows(context.task, examples, renderer)
    if args.scale_rewards == "group":
        context.log(
            f"Warning: stages.{config.name}.trl.scale_rewards is group: each question's rewards are divided by their "
            "own spread, so that small outcomes count like large ones, and where outcomes are mostly luck the model "
            "becomes too sure of itself (arXiv 2508.11800). batch, the default here, divides all by one spread."
        )
    key = f"stages.{config.name}.trl.max_completion_length"
    if not (context.task.episodic and config.group == "decisions"):
        check_room(key, [row["prompt"] for row in rows], renderer, args.max_completion_length, positions_of(model))
    tracker = Tracker(context.task, context.folder, config.name) if config.log_answers else None
    with refused(f"stages.{config.name}"):
        trainer = _trainer(config, context, examples, args.num_generations, renderer, tracker and tracker.add)(
            model=model,
            args=args,
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            peft_config=peft,
        )
    train(trainer, context, title=config.name, shown=SHOWN, callbacks=[tracker] if tracker else [])
    used = trainer.state.global_step * args.generation_batch_size // args.num_generations // args.num_iterations
    keys = [example.key for example in examples[:used]]
    replace_text(context.folder / OUTCOMES, json.dumps(keys))
    return finish(
        trainer,
        tokenizer,
        context,
        summary=("reward", "entropy", "decision_entropy", "shrinkage", "kl", "parse_errors"),
    )


def _trainer(
    config: Config, context: Context, examples: list[Example], group: int, renderer: ChatRenderer, on_scored: Any = None
) -> Any:
    """The trainer of the task's kind, which takes the arguments that all have in common."""
    task = context.task
    from tradeschool.train.decision_groups import DecisionLoss, DecisionTrainer, SampledGVPOTrainer
    from tradeschool.train.grpo_trainers import MultiTurnTrainer, ResumableTrainer, SharedPrefixTrainer
    from tradeschool.train.ppo_language import PPOLanguageTrainer
    from tradeschool.train.rewards import reward_functions
    from tradeschool.train.shrinking import Shrinkage
    from tradeschool.train.what_if import WhatIfTrainer

    if task.episodic and config.group == "sampled":
        return partial(MultiTurnTrainer, task=task, examples=examples)
    if config.group == "decisions":
        loss = DecisionLoss(config.objective, config.tau, config.sft_weight, config.reasonings)
        scored = reward_functions(task, group, examples, renderer.decode, sampled=False)
        options: dict[str, Any] = {"task": task, "examples": examples, "renderer": renderer, "loss": loss}
        if task.episodic:
            return partial(WhatIfTrainer, **options, reward_funcs=scored)
        shrinkage = Shrinkage(task, context.folder / SHRINKAGE, len(examples)) if _shrinks(config, task) else None
        made = partial(DecisionTrainer, **options, shrinkage=shrinkage, on_scored=on_scored, reward_funcs=scored)
        return partial(made, log=context.log)
    scored = reward_functions(task, group, examples, renderer.decode, on_scored=on_scored)
    if config.objective == "grpo" and not config.share_prefix:
        return partial(ResumableTrainer, reward_funcs=scored)
    if config.objective == "ppo":
        critic = {"gae_lambda": config.gae_lambda, "critic_learning_rate": config.critic_learning_rate}
        return partial(PPOLanguageTrainer, **critic, reward_funcs=scored, log=context.log)
    trainer = SampledGVPOTrainer if config.objective == "gvpo" else SharedPrefixTrainer
    return partial(trainer, reward_funcs=scored, log=context.log)


def _shrinks(config: Config, task: Task) -> bool:
    """Whether forecasts can be shrunken: towards the decision that is best without any, after a known reasoning."""
    wanted = config.shrink and (config.objective, config.group) == ("gvpo", "decisions")
    towards_known = any(task.weights.get(name) for name in task.known_components)
    return wanted and towards_known and task.reasoning(task.examples("train")[0]) is not None


# questions ----------------------------------------------------------------------------------------


def training_examples(config: Config, context: Context) -> list[Example]:
    """A seeded draw from the training split, in the order of training."""
    task, count, seed = context.task, config.questions, context.seed
    pool = _pool(config, context, context.log)
    return draw_episodes(task, pool, count, seed) if isinstance(task, MultiTurnTask) else draw(pool, config, seed)


def _pool(config: Config, context: CheckContext | Context, log: Log = lambda text: None) -> list[Example]:
    task, count = context.task, config.questions
    try:
        return select_examples(task, config, context.panel, count=count, seed=context.seed, log=log)
    except RecipeError as error:
        raise RecipeError(f"stages.{config.name}.{error}") from error


def draw(pool: list[Example], config: Config, seed: int) -> list[Example]:
    """``questions`` of the pool, shuffled one by one or by date."""
    rng = np.random.default_rng([seed, 13])
    shuffled = [pool[i] for i in rng.permutation(len(pool))]
    if config.by_date:
        place = {t: place for place, t in enumerate(rng.permutation(sorted({example.t for example in pool})).tolist())}
        shuffled.sort(key=lambda example: place[example.t])
    return shuffled[: config.questions]


def draw_episodes(task: MultiTurnTask, pool: Sequence[Example], count: int, seed: int) -> list[Example]:
    """``count`` examples in random order: every example of the pool once before any comes again."""
    rng = np.random.default_rng([seed, 29])
    order = np.concatenate([rng.permutation(len(pool)) for _ in range(-(-count // len(pool)))])
    return [task.variant(pool[i], FIRST_VARIANT + place // len(pool)) for place, i in enumerate(order[:count].tolist())]


def dataset_rows(task: Task, examples: list[Example], renderer: ChatRenderer) -> list[dict[str, Any]]:
    """Rows for TRL: ``prompt``, and in ``example`` the index of the example, so that any payload survives."""
    supported = list if task.episodic else renderer.supported
    return [{"prompt": supported(task.messages(example)), "example": i} for i, example in enumerate(examples)]
