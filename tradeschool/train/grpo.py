"""Group relative policy optimisation by TRL's GRPOTrainer, with the prompt computed once per group."""

from typing import Any

from pydantic import Field

from tradeschool.train.sft import arguments
from tradeschool.train.stage import Context, Result, StageConfig

TRL = "trl:GRPOConfig"


class Config(StageConfig):
    """``questions``: how many training questions to draw from; ``model``: the stage to start from.

    ``share_prefix`` computes what the answers of a group share once (``train/prefix.py``); switch it
    off for a model that takes no 4-D attention mask, or to generate with vLLM.
    """

    questions: int = Field(default=20_000, ge=1)
    share_prefix: bool = True
    model: str | None = None


def run(config: Config, context: Context) -> Result:
    """Train on the task's rewards; weights go to ``weights/`` in the stage's folder."""
    from trl import GRPOConfig, GRPOTrainer

    from tradeschool.train.rewards import reward_functions
    from tradeschool.train.shared import SharedPrefixTrainer
    from tradeschool.train.trainer import finish, start, train

    model, tokenizer, peft = start(config.model, context)
    args = GRPOConfig(**_arguments(config, context))
    functions = reward_functions(context.task, group=args.num_generations)
    trainer = (SharedPrefixTrainer if config.share_prefix else GRPOTrainer)(
        model=model,
        args=args,
        reward_funcs=functions,
        train_dataset=_questions(config, context),
        processing_class=tokenizer,
        peft_config=peft,
    )
    train(trainer, context, title=config.name, shown=("reward", "entropy", "kl"))
    return finish(trainer, tokenizer, context, summary=("reward", "entropy", "kl", "parse_errors"))


def _arguments(config: Config, context: Context) -> dict[str, Any]:
    given = arguments(config, context.folder, context.seed)
    names = list(context.task.weights)
    return {**given, "remove_unused_columns": False, "reward_weights": [context.task.weights[name] for name in names]}


def _questions(config: Config, context: Context) -> Any:
    """A seeded draw from the training split: the prompt, and which example it came from."""
    import numpy as np
    from datasets import Dataset

    pool = context.task.examples("train")
    chosen = np.random.default_rng([context.seed, 13]).permutation(len(pool))[: config.questions]
    with context.console.status("Writing questions"):
        return Dataset.from_list(
            [
                {"prompt": context.task.prompt(pool[i]).messages, "key": pool[i].key, "t": pool[i].t, "n": pool[i].n}
                for i in map(int, chosen)
            ]
        )
