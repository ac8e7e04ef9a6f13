"""The evaluate stage: every policy answers the same questions on unseen dates; a table and a report compare them."""

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from tradeschool.errors import RecipeError, RunError, did_you_mean, one_line
from tradeschool.evaluate.comparison import NAIVE
from tradeschool.evaluate.ensembles import EnsembleConfig, check_ensembles, ensemble_traces
from tradeschool.evaluate.evaluation_set import (
    Costs,
    EvaluationSet,
    Predictions,
    evaluation_set_of,
    traces_name,
    traces_to_predictions,
)
from tradeschool.evaluate.shuffled import shuffled_means
from tradeschool.manifest import replace_text
from tradeschool.policies import table
from tradeschool.policies.base import Answerer, Kind, Policy, make_policy
from tradeschool.progress import progress, status
from tradeschool.rollout import CONSTRAINED, Chooser, MultiTurnTask, few_shot, rollout, rollout_episodes
from tradeschool.tasks.base import POSITION, Example, Task
from tradeschool.trace import Trace, read_traces, write_traces
from tradeschool.train.stage import OUTCOMES, CheckContext, Context, Result, StageConfig, base_row, refuse_reserved

TRIAL_QUESTIONS = 5
"""How many questions a baseline answers before the first stage."""


class Config(StageConfig):
    """The questions, the policies that answer them, and how the answers are compared.

    Attributes:
        split: whose dates are asked about.
        seed: of the draw of tickers and of the random baseline. The recipe's ``seed`` changes none of
            them, so that trainings with several seeds answer the same questions.
        tickers: how many tickers are asked about (a seeded draw), by default all.
        models: the training stages whose models are evaluated, by default all.
        base: whether the base model is evaluated too.
        baselines: further policies, as ``my_package.module:Class``, constructed with the task or with nothing.
        max_new_tokens, batch_size: of generation.
        few_shot: how many questions of training dates with answers the base model sees before each question.
        constrained: take the most likely decision where the answer of a language model cannot be read.
        costs: of the backtest.
        confidence: of the intervals and verdicts.
        ensembles: rows of combined answers (``evaluate/ensembles.py``).
        shuffled: how many questions to draw at random for the table that shows the primary metric of shuffled samples
            beside that of consecutive days (``evaluate/shuffled.py``); 0 leaves it out.
    """

    split: Literal["test", "validation"] = "test"
    seed: int = Field(default=0, ge=0, lt=2**32)
    tickers: int | None = Field(default=None, ge=1)
    models: list[str] | None = None
    base: bool = True
    baselines: list[str] = Field(default=[])
    max_new_tokens: int = Field(default=64, ge=1, le=65_536)
    batch_size: int = Field(default=256, ge=1)
    few_shot: int = Field(default=0, ge=0, le=64)
    constrained: bool = False
    costs: Costs = Costs()
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    ensembles: list[EnsembleConfig] = Field(default=[])
    shuffled: int = Field(default=0, ge=0)


def check(config: Config, context: CheckContext) -> None:
    """Refuse before the first stage what would fail after training: a trial of a few questions finds it."""
    from tradeschool.models.load import TRIED, refuse_too_long

    task, where = context.task, f"stages.{config.name}"
    if task.episodic and not (isinstance(task, MultiTurnTask) and task.metrics()):
        raise RecipeError(
            f"{where}: the task '{task.name}' plays episodes, and has no metrics of them. Use the stage 'leaderboard' "
            "for the task 'trade'; give a task of your own the methods of MultiTurnTask, metrics and episode_metrics."
        )
    if not any(metric.primary for metric in task.metrics()):
        raise RecipeError(f"{where}: the task '{task.name}' has no primary metric. Return one from its metrics().")
    if config.tickers is not None and not task.per_ticker:
        raise RecipeError(f"{where}.tickers: the task '{task.name}' asks about dates, not tickers. Remove tickers.")
    models = _model_names(config, context.models, where)
    baselines = _baselines(config, task)
    refuse_reserved(context, [table.NAME, *(policy.name for policy in baselines)])
    if not any(policy.kind in NAIVE for policy in baselines):
        raise RecipeError(f"{where}: the task '{task.name}' has no baseline to beat. Return one from its baselines().")
    names = [*(policy.name for policy in baselines), *context.models]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise RecipeError(
            f"{where}: a baseline and another policy are both called '{twice}'. Rename the stage or yours."
        )
    if task.episodic and (rule := next((one.name for one in baselines if not isinstance(one, Policy)), None)):
        raise RecipeError(
            f"{where}: the baseline '{rule}' answers single questions only, but the task '{task.name}' "
            "plays episodes. Derive it from Policy."
        )
    questions = _questions(config, task)
    taken = [*names, base_row(context.model.base), table.NAME]
    check_ensembles(config.ensembles, task, questions[0], models, taken, f"{where}.ensembles")
    _try_evaluation(config, context, questions, baselines)
    _check_scores(config, task, questions)
    _check_answers(config, task, questions[0])
    if models or config.base:
        shots = few_shot(task, config.few_shot) if config.base else []
        prompts = [[*shots, *task.messages(example)] for example in questions[:: len(questions) // TRIED + 1]]
        refuse_too_long(f"{where}.max_new_tokens", context.model, task, prompts, config.max_new_tokens)


def _check_answers(config: Config, task: Task, example: Example) -> None:
    """Refuse few-shot examples and constrained decoding where the task has neither answers nor finite decisions."""
    where = f"stages.{config.name}"
    if config.few_shot and (task.episodic or not few_shot(task, 1)):
        raise RecipeError(
            f"{where}.few_shot shows the base model answers that SFT would imitate; the task '{task.name}' has none "
            "for single questions. Remove it."
        )
    if config.constrained and (task.episodic or not task.decisions(example)):
        raise RecipeError(
            f"{where}.constrained: the task '{task.name}' has no finite set of decisions to choose from. Remove it."
        )


def _try_evaluation(
    config: Config, context: CheckContext, examples: list[Example], baselines: Sequence[Answerer]
) -> None:
    """Refuse a task whose questions, or answers to some of them, cannot be evaluated."""
    task, some = context.task, examples[:: len(examples) // TRIAL_QUESTIONS + 1]
    where = f"stages.{config.name}: the task '{task.name}' cannot be evaluated"
    try:
        evaluation_set_of(task, context.panel, examples, config.split, config.costs)
    except RunError as error:
        raise RecipeError(f"{where}. {error}") from error
    baseline = next(policy for policy in baselines if policy.kind in NAIVE)
    with _named(where, f"the baseline '{baseline.name}' answers. Correct the task, or the baseline."):
        if isinstance(baseline, Policy) and task.episodic:
            rollout_episodes(baseline, task, some[:1], {}, split=config.split, batch=1)
            return
        traces = rollout(baseline, task, some, {})
    with _named(where, "an answer cannot be read. Let metric_values, positions and rewards accept the action None."):
        task.trace_metrics(some[0], None)
        task.rewards(some[0], "", None)
    with _named(where, "positions() is asked about its decisions. Correct the task."):
        decided = [task.positions(example, action) for example in some for action in task.decisions(example) or ()]
    for position in [*decided, *(trace.metrics.get(POSITION) for trace in traces)]:
        if position is not None and abs(position) > 1:
            raise RecipeError(
                f"{where}: positions() returned {position:g}. Return a share of the ticker's capital, from -1 to 1."
            )


@contextlib.contextmanager
def _named(where: str, when: str) -> Iterator[None]:
    """An error of a task's own code, as one that names the task and the cure."""
    try:
        yield
    except Exception as error:
        raise RecipeError(f"{where}: {type(error).__name__} ({one_line(error, 300)}) when {when}") from error


def _check_scores(config: Config, task: Task, examples: Sequence[Example]) -> None:
    """Refuse a split in which no answer can have a score."""
    actions = task.decisions(examples[0])
    if actions and all(task.eval_score(example, actions[0]) is None for example in examples):
        raise RecipeError(
            f"stages.{config.name}.split: no question of the {config.split} split has a score "
            f"({task.score_definition()}), because the outcomes that it needs are not known. Give it more dates."
        )


def run(config: Config, context: Context) -> Result:
    """Collect the answers, compare them, and write ``comparison.json``, the traces and the run's ``report.html``."""
    from tradeschool.evaluate.charts import task_figure
    from tradeschool.evaluate.compare import compare
    from tradeschool.evaluate.report import COMPARISON, FIGURES, report_evaluation

    examples = _questions(config, context.task)
    questions = evaluation_set_of(context.task, context.panel, examples, config.split, config.costs)
    predictions = [*_ask_baselines(config, context, questions, examples)]
    predictions += _ask_models(config, context, questions, examples)
    predictions += _ask_ensembles(config, context, questions, examples)
    predictions += _ask_bound(context, questions, examples)
    comparison = compare(questions, predictions, confidence=config.confidence)
    if config.shuffled:
        means = shuffled_means(questions, predictions, config.shuffled, config.seed, config.confidence)
        comparison = comparison.model_copy(update={"shuffled": means})
    replace_text(context.folder / COMPARISON, comparison.to_json())
    values = {p.policy: dict(p.values) for p in predictions}
    # The task's own plots, which a report made later cannot draw.
    if drawn := [(figure.caption, task_figure(figure, values)) for figure in context.task.figures()]:
        replace_text(context.folder / FIGURES, json.dumps(drawn))
    report_evaluation(context.run_folder, context.folder, context.console)
    return Result(
        summary={f"{comparison.primary}/{r.policy}": r.metrics[comparison.primary].value for r in comparison.rows}
    )


def _questions(config: Config, task: Task) -> list[Example]:
    examples = task.examples(config.split)
    if not examples:
        raise RecipeError(
            f"stages.{config.name}.split: the {config.split} split has no question that can be scored. "
            "Give it more dates."
        )
    asked = sorted({example.n for example in examples})
    if config.tickers is not None and config.tickers < len(asked):
        chosen = set(np.random.default_rng([config.seed, 17]).permutation(asked)[: config.tickers].tolist())
        examples = [example for example in examples if example.n in chosen]
    return examples


# answers -------------------------------------------------------------------------------------


def _baselines(config: Config, task: Task) -> list[Answerer]:
    """The task's, and those that the recipe names."""
    from tradeschool.config.check import load_class

    key, found = f"stages.{config.name}.baselines", list(task.baselines(config.seed))
    for name in config.baselines:
        policy_class = load_class(name, Answerer, key)  # type: ignore[type-abstract]
        try:
            found.append(make_policy(policy_class, task))
        except Exception as error:
            raise RecipeError(
                f"{key}: {name} cannot be constructed: {type(error).__name__}: {error}. Its constructor must "
                "be __init__(self, task), or __init__(self)."
            ) from error
    return found


def _ask_baselines(
    config: Config, context: Context, questions: EvaluationSet, examples: list[Example]
) -> Iterator[Predictions]:
    with status(context.console, "Asking the baselines"):
        for policy in _baselines(config, context.task):
            traces = _answers(policy, config, context, examples)
            yield traces_to_predictions(questions, policy.name, policy.kind, examples, traces)


def _model_names(config: Config, trained: Sequence[str], where: str) -> list[str]:
    """The models to evaluate in the order of training, in which each is compared with the one before it."""
    names = list(trained) if config.models is None else config.models
    for name in names:
        if name not in trained:
            raise RecipeError(
                f"{where}.models: '{name}' is not an earlier stage that trains a language model."
                f"{did_you_mean(name, trained)} Choose from: {', '.join(trained) or '(none)'}."
            )
    return [name for name in trained if name in names]


def _ask_models(
    config: Config, context: Context, questions: EvaluationSet, examples: list[Example]
) -> Iterator[Predictions]:
    """Every language model on the same questions; complete traces of the same versions are kept."""
    from tradeschool.models.load import base_source

    sources: dict[str, tuple[str, Kind]] = {}
    if config.base:
        base = base_source(context.model, context.task, context.run_folder, context.seed)
        sources[base_row(context.model.base)] = (base, "base")
    for name in _model_names(config, list(context.models), f"stages.{config.name}"):
        sources[name] = (str(context.models[name]), "trained")
    for name, (source, kind) in sources.items():
        path = context.folder / traces_name(name, kind)
        traces = _kept_traces(path, context, examples)
        if traces is None:
            traces = _ask_model(name, kind, source, config, context, examples)
            _keep(path, traces)
        yield traces_to_predictions(questions, name, kind, examples, traces)


def _ask_ensembles(
    config: Config, context: Context, questions: EvaluationSet, examples: list[Example]
) -> Iterator[Predictions]:
    """Combined answers, from the traces of the models or from sampled ones; complete traces are kept."""
    for one in config.ensembles:
        path = context.folder / traces_name(one.name, "trained")
        traces = _kept_traces(path, context, examples)
        if traces is None:
            length = {"max_new_tokens": config.max_new_tokens, "batch_size": config.batch_size}
            traces = ensemble_traces(one, context, examples, length)
            _keep(path, traces)
        yield traces_to_predictions(questions, one.name, "trained", examples, traces)


def _ask_bound(context: Context, questions: EvaluationSet, examples: list[Example]) -> Iterator[Predictions]:
    """What a ridge regression on the prompt's facts learns from the outcomes that the stages with rewards have used."""
    task = context.task
    used = [path for weights in context.models.values() if (path := weights.parent / OUTCOMES).exists()]
    if not used or not task.decisions(examples[0]) or task.facts(examples[0]) is None:
        return
    keys = {key for path in used for key in json.loads(path.read_text(encoding="utf-8"))}
    learned = [example for example in task.stream("train") if example.key in keys]
    with status(context.console, f"Fitting the row '{table.NAME}' to {len(learned):,} outcomes"):
        try:
            policy = table.learn(task, learned, task.examples("validation"))
        except ValueError as error:
            return context.log(f"The row '{table.NAME}' is left out: {error}.")
        yield traces_to_predictions(
            questions, policy.name, policy.kind, examples, rollout(policy, task, examples, context.versions)
        )


def _keep(path: Path, traces: list[Trace]) -> None:
    unfinished = path.with_suffix(".part")
    write_traces(unfinished, traces)
    unfinished.replace(path)


def _kept_traces(path: Path, context: Context, examples: list[Example]) -> list[Trace] | None:
    """The traces of an earlier attempt, where they answer the same questions of the same versions."""
    if not path.exists():
        return None
    kept = list(read_traces(path))
    same_questions = [trace.key for trace in kept] == [example.key for example in examples]
    # A commit is not a change of what is asked: those change the task's version.
    same_versions = all({**trace.versions, "commit": ""} == {**context.versions, "commit": ""} for trace in kept)
    return kept if same_questions and same_versions else None


def _ask_model(
    name: str, kind: Kind, source: str, config: Config, context: Context, examples: list[Example]
) -> list[Trace]:
    from tradeschool.models.load import load
    from tradeschool.policies.language import LanguagePolicy

    with status(context.console, f"Loading the model ({name})"):
        model, tokenizer = load(source, context.model)
    with progress(context.console) as bar:
        row = bar.add_task(
            f"asking {name}", total=len(examples), unit="episodes" if context.task.episodic else "questions", figures=""
        )

        def on_batch(count: int) -> None:
            bar.update(row, completed=count)

        policy = LanguagePolicy(
            model,
            tokenizer,
            name=name,
            kind=kind,
            max_new_tokens=config.max_new_tokens,
            batch_size=config.batch_size,
            on_batch=on_batch,
        )
        return _answers(policy, config, context, examples, on_batch)


def _answers(
    policy: Answerer,
    config: Config,
    context: Context,
    examples: list[Example],
    on_batch: Callable[[int], None] = lambda count: None,
) -> list[Trace]:
    """One trace for each example: of the answer, or of the episode that begins with it."""
    task, versions = context.task, context.versions
    if task.episodic:
        assert isinstance(policy, Policy)  # as `check` has made sure
        split, batch = config.split, config.batch_size
        return rollout_episodes(policy, task, examples, versions, split=split, batch=batch, on_batch=on_batch)
    if not isinstance(policy, Chooser):  # a baseline
        return rollout(policy, task, examples, versions)
    shots = few_shot(task, config.few_shot) if policy.kind == "base" else []
    traces = rollout(policy, task, examples, versions, shots=shots, constrained=config.constrained)
    if config.constrained:
        count = sum(trace.metrics[CONSTRAINED] > 0 for trace in traces)
        context.log(f"{policy.name}: {count:,} of {len(traces):,} answers were unreadable before constrained decoding")
    return traces
