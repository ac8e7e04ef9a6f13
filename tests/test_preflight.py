"""What a recipe may not hold is refused before the first stage; the command ends with one message and exit code 2."""

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from tradeschool import pipeline
from tradeschool.cli.main import app
from tradeschool.config.recipe import from_mapping
from tradeschool.errors import TradeschoolError
from tradeschool.models import load

SHAPE = {"vocabulary": 300, "hidden_size": 16, "layers": 1, "heads": 2, "intermediate_size": 16}
RATING: dict[str, Any] = {
    "name": "rating",
    "market": {"source": "synthetic", "tickers": 4, "days": 400, "edge": 0.3},
    "split": {"train": 0.7, "validation": 0.1, "test": 0.2, "warmup": 30},
    "task": {"name": "rating", "facts": ["rsi"], "horizons": [1]},
    "model": {"base": "tiny", "tiny": SHAPE},
    "stages": [
        {"stage": "sft", "examples": 64, "trl": {"max_steps": 2, "per_device_train_batch_size": 8}},
        {
            "stage": "grpo",
            "questions": 20,
            "trl": {
                "max_steps": 2,
                "num_generations": 4,
                "per_device_train_batch_size": 8,
                "max_completion_length": 14,
                "beta": 0.02,
            },
        },
        {"stage": "evaluate", "tickers": 2, "max_new_tokens": 14},
    ],
}
TRADE: dict[str, Any] = {
    "name": "trade",
    "market": {"source": "synthetic", "tickers": 3, "days": 600, "edge": 0.3},
    "split": {"train": 0.6, "validation": 0.1, "test": 0.3, "warmup": 60},
    "task": {"name": "trade", "facts": ["change_5", "rsi_14", "macd_hist"], "env": {"days": 5}},
    "model": {"base": "tiny", "tiny": {**SHAPE, "positions": 2048}},
    "stages": [{"stage": "ppo", "steps": 100, "envs": 2}, {"stage": "leaderboard", "episodes": 4}],
}
OWNED = (
    "output_dir", "logging_dir", "overwrite_output_dir", "resume_from_checkpoint", "save_only_model", "seed",
    "data_seed", "ignore_data_skip",
)  # fmt: skip


@pytest.fixture(autouse=True)
def few_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "TOKENIZER_EXAMPLES", 50)


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The stages that began; none of them does anything."""
    monkeypatch.chdir(tmp_path)
    names: list[str] = []
    monkeypatch.setattr(pipeline, "_run_stages", lambda run: names.append(run.recipe.name))
    return names


def check(base: dict[str, Any], *sets: str) -> None:
    pipeline.run(from_mapping(json.loads(json.dumps(base)), sets), None, Console(quiet=True))


def refused(base: dict[str, Any], *sets: str) -> str:
    with pytest.raises(TradeschoolError) as raised:
        check(base, *sets)
    return str(raised.value)


def test_recipes_without_a_fault_begin(begun: list[str]) -> None:
    check(RATING)
    check(TRADE)
    assert begun == ["rating", "trade"]


@pytest.mark.parametrize("key", OWNED)
def test_keys_that_the_run_owns_are_refused_and_nothing_outside_is_touched(
    key: str, begun: list[str], tmp_path: Path
) -> None:
    outside = tmp_path / "mine" / "checkpoint-1"
    outside.mkdir(parents=True)
    (outside / "model.safetensors").write_text("mine", encoding="utf-8")
    for stage in ("sft", "grpo"):
        text = refused(RATING, f"stages.{stage}.trl.{key}={tmp_path / 'mine'}")
        assert text.startswith(f"stages.{stage}.trl.{key}: ")
        assert "Remove it" in text
    assert begun == []
    assert (outside / "model.safetensors").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("stages.grpo.trl.reward_weights=[1, 2]", "task.weights"),
        ("stages.grpo.trl.beta=-1", "at least 0"),
        ("stages.grpo.trl.learning_rate=abc", "must be a number"),
        ("stages.grpo.trl.temperature=0", "greater than 0"),
        ("stages.grpo.trl.max_completion_length=0", "at least 1"),
        ("stages.grpo.trl.max_completion_length=null", "whole number"),
        ("stages.grpo.trl.max_completion_length=100000", "1,024 positions"),
        ("stages.grpo.trl.per_device_train_batch_size=0", "at least 1"),
        ("stages.grpo.trl.steps_per_generation=0", "at least 1"),
        ("stages.grpo.trl.num_generations=3", "num_generations (3)"),
        ("stages.grpo.trl.importance_sampling_level=word", "token, sequence"),
        ("stages.grpo.trl.top_entropy_quantile=2", "at most 1"),
        ("stages.sft.trl.lr_scheduler_type=cosin", "Did you mean 'cosine'?"),
        ("stages.sft.trl.lr_scheduler_type=cosine_with_min_lr", "lr_scheduler_kwargs"),
        ("stages.sft.trl.lr_scheduler_kwargs={foo: 1}", "foo"),
        ("stages.sft.trl.optim=adamw_troch", "Did you mean 'adamw_torch'?"),
        ("stages.sft.trl.adam_beta1=1", "less than 1"),
        ("stages.sft.trl.max_steps=-3", "at least 1"),
        ("stages.sft.trl.num_train_epochs=1e12", "at most"),
        ("stages.sft.trl.learning_rate=0", "greater than 0"),
        ("stages.sft.trl.learning_rate=.inf", "learning_rate"),
        ("stages.sft.trl.max_steps=1000000000000", "at most"),
        ("stages.sft.trl.warmup_steps=1.5", "share of the steps"),
        ("stages.sft.trl.log_level=foo", "must be one of"),
        ("stages.sft.trl.optim_args=foo=1", "no effect with optim adamw_torch"),
        ("stages.sft.trl.gradient_accumulation_steps=0", "at least 1"),
        ("stages.sft.trl.dataloader_num_workers=-1", "at least 0"),
        ("stages.sft.trl.eval_on_start=true", "evaluation data"),
        ("stages.sft.trl.do_eval=true", "evaluation data"),
        ("stages.sft.trl.deepspeed=zero.json", "one process"),
        ("stages.sft.trl.fsdp=full_shard", "one process"),
        ("stages.sft.trl.use_liger_kernel=true", "liger_kernel"),
        ("stages.sft.trl.neftune_noise_alpha=-5", "at least 0"),
        ("stages.sft.trl.callbacks=[x]", "not a field"),
        ("stages.sft.turns=3", "no episodes"),
        ("stages.sft.name=hold", "name of a baseline"),
        ("stages.evaluate.max_new_tokens=100000", "at most"),
        ("stages.sft.examples=1000000000", "at most"),
        ("stages.grpo.questions=1000000000", "at most"),
        ("stages.evaluate.confidence=1", "less than 1"),
        ("stages.evaluate.max_new_tokens=5000", "1,024 positions"),
        ("stages.evaluate.models=[stf]", "Did you mean 'sft'?"),
        ("stages.evaluate.costs.commission_bps=2000", "less than 1000"),
        ("stages.grpo.model=stf", "Did you mean 'sft'?"),
        ("model.base=tinny", "there is no such folder). Did you mean 'tiny'?"),
        ("model.base=.", "config.json"),
        ("model.attention=flash_attention_9", "sdpa"),
        ("model.lora={target_modules: [query]}", "q_proj"),
        ("model.lora={rank_pattern: {query: 3}}", "rank_pattern"),
        ("model.lora={bias: some}", "bias"),
        ("model.lora={lora_alpha: -1}", "at least 1"),
        ("model.lora={lora_alfa: 3}", "Did you mean 'lora_alpha'?"),
        ("model.tiny.layers=1000000000", "at most"),
        ("market.days=1000000000", "at most"),
        ("market.tickers=1000000000", "at most"),
        ("market.start=9999-01-01", "1900 to 2200"),
        ("task.risk_aversion=1e308", "at most"),
        ("task.weights={}", "no reward"),
        ("split={validation_from: 2011-06-01, test_from: 2011-07-15}", "no question"),
        ("split.folds=500", "folds"),
        ("stages=[{stage: leaderboard}]", "task is 'rating'"),
        ("stages=[{stage: ppo}, {stage: evaluate}]", "no trading environment"),
    ],
)
def test_a_fault_of_a_rating_recipe_is_refused_before_the_first_stage(
    option: str, words: str, begun: list[str]
) -> None:
    assert words in refused(RATING, option)
    assert begun == []


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("stages.ppo.name=macd", "name of a baseline"),
        ("stages.ppo.steps=1000000000000000", "at most"),
        ("stages.ppo.sb3={gamma: 3}", "between 0 and 1"),
        ("stages.ppo.sb3={n_epochs: 1000000000}", "between 0 and"),
        ("stages.ppo.sb3={learning_rate: abc}", "learning rate"),
        ("stages.leaderboard.episodes=1000000000", "at most"),
        ("stages.leaderboard.max_new_tokens=5000", "2,048 positions"),
        ("stages=[{stage: evaluate}]", "leaderboard"),
        ("model.base=tinyy", "Did you mean 'tiny'?"),
    ],
)
def test_a_fault_of_a_trade_recipe_is_refused_before_the_first_stage(option: str, words: str, begun: list[str]) -> None:
    assert words in refused(TRADE, option)
    assert begun == []


@pytest.mark.parametrize(
    "option",
    [
        "stages.grpo.trl.sync_ref_model=false",
        "stages.sft.trl.save_strategy=epoch",
        "stages.sft.trl.warmup_steps=0.1",
        "stages.sft.trl.hub_model_id=me/mine",
        "stages.evaluate.confidence=0.9999",
        "model.lora={target_modules: [q_proj], use_dora: true}",
    ],
)
def test_what_the_libraries_can_do_is_not_refused(option: str, begun: list[str]) -> None:
    check(RATING, option)
    assert begun == ["rating"]


@pytest.mark.parametrize(
    "option", ["stages.sft.trl.output_dir=x", "stages.grpo.trl.num_generations=3", "stages.sft.trl.optim=adamm"]
)
def test_the_command_ends_with_one_message(option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rating.yaml").write_text(json.dumps(RATING), encoding="utf-8")
    done = CliRunner().invoke(app, ["run", "rating.yaml", "--set", option])
    assert done.exit_code == 2
    assert option.partition("=")[0].rpartition(".")[2] in done.output
    assert "Traceback" not in done.output
    assert not Path("runs").exists()


def test_a_folder_of_a_run_as_base_is_written_down_by_its_real_path(tmp_path: Path) -> None:
    """``latest`` is another run as soon as this one begins."""
    (tmp_path / "first" / "weights").mkdir(parents=True)
    (tmp_path / "latest").symlink_to("first")
    recipe = from_mapping(json.loads(json.dumps(RATING)), [f"model.base={tmp_path / 'latest' / 'weights'}"])
    assert recipe.resolved["model"]["base"] == str(tmp_path / "first" / "weights")
