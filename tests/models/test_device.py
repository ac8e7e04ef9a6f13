"""Where models answer. The device "meta" stands for a GPU: its tensors have shapes and no numbers, and do not mix with
others."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import accelerate
import pytest
import tiny_models
import torch

import tradeschool
from tradeschool.evaluate.leaderboard.agents import model_agent, unload
from tradeschool.models import load as loading
from tradeschool.models.batched_chat import BatchedChat
from tradeschool.models.chat_renderer import ChatRenderer, end_tokens
from tradeschool.models.load import ModelConfig, inference_device, load
from tradeschool.policies.language import LanguagePolicy
from tradeschool.train.prefix_tree import draw

QUESTION = [{"role": "user", "content": "RSI 28"}]
RECIPES = Path(__file__).parents[2] / "recipes"
CONFIG = ModelConfig(attention="eager")
ENVS: Any = None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.folder(tmp_path_factory.mktemp("device") / "tiny")


@pytest.fixture
def on_meta(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "inference_device", lambda: torch.device("meta"))


class Stop(Exception):
    """Raised where a test has seen what it looks at."""


def test_a_model_is_on_the_device_of_accelerate_except_for_a_trainer(folder: Path, on_meta: None) -> None:
    model, _ = load(str(folder), CONFIG)
    assert {weights.device.type for weights in model.parameters()} == {"meta"}
    trained, _ = load(str(folder), CONFIG, trainable=True)
    assert trained.device.type == "cpu"


def test_adapters_and_their_base_are_on_the_device(folder: Path, on_meta: None, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    model, tokenizer = load(str(folder), CONFIG, trainable=True)
    get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model, _ = load(str(tmp_path), CONFIG)
    assert {weights.device.type for weights in model.parameters()} == {"meta"}


def test_a_model_that_its_quantization_has_placed_stays_there(monkeypatch: pytest.MonkeyPatch) -> None:
    class Quantized:
        device = torch.device("cuda:0")

        def to(self, device: Any) -> None:
            raise ValueError("`.to` is not supported for 4-bit or 8-bit models")

    monkeypatch.setattr(loading, "inference_device", lambda: torch.device("cuda"))
    loading._place(Quantized())


@pytest.mark.parametrize(("found", "chosen"), [("cuda:1", "cuda:1"), ("xpu", "xpu"), ("mps", "cpu"), ("cpu", "cpu")])
def test_the_device_is_the_one_that_accelerate_chooses(
    found: str, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class State:
        device = torch.device(found)

    monkeypatch.setattr(accelerate, "PartialState", State)
    assert inference_device() == torch.device(chosen)


def test_leaderboards_place_models_and_release_one_before_the_next(
    folder: Path, on_meta: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tiny_models.folder(tmp_path / "other", seed=1)
    kept: list[int] = []
    true_load: Callable[..., Any] = loading.load

    def counted(source: str, config: ModelConfig) -> Any:
        from tradeschool.evaluate.leaderboard import agents

        kept.append(agents._load_once.cache_info().currsize)
        return true_load(source, config)

    monkeypatch.setattr(loading, "load", counted)
    for source in (folder, folder, other):
        policy: Any = model_agent("m", str(source), CONFIG, batch=2).build(ENVS, lambda count: None)
        assert policy._model.device.type == "meta"
    unload()
    assert kept == [0, 0]


def test_the_evaluation_and_decisions_use_the_device(
    on_meta: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices: list[str] = []

    def generate(policy: Any, conversations: Any, n: int = 1) -> list[list[str]]:
        devices.append(policy._model.device.type)
        return [["[[[BUY]]]"] * n for _ in conversations]

    monkeypatch.setattr(LanguagePolicy, "generate", generate)
    changes = {
        "market": {"source": "synthetic", "tickers": 5, "days": 300, "edge": 0.3},
        "split": {"train": 0.7, "validation": 0.1, "test": 0.2, "warmup": 30},
        "model": {"tiny": {"vocabulary": 300, "hidden_size": 16, "layers": 1, "heads": 2, "intermediate_size": 32}},
        "stages": [{"stage": "evaluate", "name": "evaluate", "tickers": 2, "max_new_tokens": 3}],
    }
    run = tradeschool.run(RECIPES / "demo.yaml", changes, out=tmp_path / "run", quiet=True)
    assert devices == ["meta"]
    run.decide(run.panel.tickers[0])
    assert devices == ["meta", "meta"]


def test_prompts_are_on_the_device_of_the_model(folder: Path, on_meta: None, monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokenizer = load(str(folder), CONFIG)
    devices: list[str] = []

    def generate(input_ids: Any, attention_mask: Any, **options: Any) -> Any:
        devices.extend([input_ids.device.type, attention_mask.device.type])
        return torch.ones(input_ids.shape[0], input_ids.shape[1] + 2, dtype=torch.long)

    monkeypatch.setattr(model, "generate", generate)
    LanguagePolicy(model, tokenizer, name="m", kind="trained").generate([QUESTION] * 3)
    assert devices == ["meta", "meta"]


def test_conversations_are_computed_and_drawn_on_the_device_of_the_model(folder: Path, on_meta: None) -> None:
    model, tokenizer = load(str(folder), CONFIG)

    def warp(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        assert (ids.device.type, scores.device.type) == ("meta", "meta")
        raise Stop

    chat = BatchedChat(model, ChatRenderer.of(tokenizer, end_tokens(model, tokenizer)), max_new_tokens=4, warp=warp)
    chat.start([QUESTION] * 2, [0, 1])
    with pytest.raises(Stop):
        chat.answer()


def test_completions_of_a_group_are_drawn_on_the_device_of_the_model() -> None:
    def warp(ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        assert ids.device == scores.device
        return scores

    place_PG = torch.zeros(2, 3, dtype=torch.long, device="meta")
    assert draw(torch.zeros(2, 1, 5, device="meta"), place_PG, warp).device.type == "meta"
