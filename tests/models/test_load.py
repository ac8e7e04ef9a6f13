"""Every model by one path: the tiny one, folders in the Hub's layout, adapters; and plain words when there is none."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import tiny_models
import torch
from chat_families import tokenizer_like
from pydantic import ValidationError

from tradeschool.errors import RecipeError
from tradeschool.models.load import ModelConfig, TinyConfig, base_source, load, peft_config
from tradeschool.policies.language import LanguagePolicy

TINY = ModelConfig(tiny=TinyConfig(vocabulary=320, hidden_size=32, layers=2, heads=4, intermediate_size=64))
IDS = torch.tensor([[10, 11, 12, 13]])


class TextTask:
    """All that the building of a tokenizer asks of a task."""

    special_tokens = tiny_models.WORDS

    def tokenizer_texts(self, count: int, seed: int) -> list[str]:
        return [text + "\n<think>Up.</think>[[[BUY]]]" for text in tiny_models.TEXTS]


TASK: Any = TextTask()


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


def prompts(*texts: str) -> list[list[dict[str, str]]]:
    return [[{"role": "user", "content": text}] for text in texts]


def test_the_tiny_model_is_built_once_and_loads_again_with_the_same_logits(tmp_path: Path) -> None:
    source = base_source(TINY, TASK, tmp_path, seed=3)
    first = (Path(source) / "model.safetensors").read_bytes()
    model, tokenizer = load(source, TINY)
    assert source == base_source(TINY, TASK, tmp_path, seed=3)
    again, _ = load(source, TINY)
    assert torch.equal(logits(model), logits(again))
    assert tokenizer("[[[BUY]]]", add_special_tokens=False).input_ids == [tokenizer.convert_tokens_to_ids("[[[BUY]]]")]
    for name, seed, same in (("same", 3, True), ("other", 4, False)):
        folder = tmp_path / name
        folder.mkdir()
        built = Path(base_source(TINY, TASK, folder, seed)) / "model.safetensors"
        assert (built.read_bytes() == first) is same


def test_an_incomplete_tiny_model_is_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import Qwen3ForCausalLM

    save = Qwen3ForCausalLM.save_pretrained

    def cut_off(self: Any, folder: Any, **options: Any) -> None:
        save(self, folder, **options)
        (Path(folder) / "model.safetensors").unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Qwen3ForCausalLM, "save_pretrained", cut_off)
        with pytest.raises(KeyboardInterrupt):
            base_source(TINY, TASK, tmp_path, seed=0)
    model, _ = load(base_source(TINY, TASK, tmp_path, seed=0), TINY)
    assert torch.isfinite(logits(model)).all()


@pytest.mark.parametrize("family", tiny_models.FAMILIES)
def test_a_folder_in_the_hubs_layout_loads_and_answers(family: str, tmp_path: Path) -> None:
    folder = tiny_models.folder(tmp_path / family, family)
    config = ModelConfig(base=str(folder))
    assert base_source(config, TASK, tmp_path, seed=0) == str(folder)
    model, tokenizer = load(str(folder), config)
    assert type(model).__name__ == f"{family}ForCausalLM"
    assert model.config._attn_implementation == "eager"
    expected = tiny_models.model(family, vocabulary=model.config.vocab_size, eos_token_id=tokenizer.eos_token_id)
    torch.testing.assert_close(logits(model), logits(expected), atol=1e-6, rtol=1e-6)
    policy = LanguagePolicy(model, tokenizer, name="x", kind="base", max_new_tokens=5)
    assert all(answer for (answer,) in policy.generate(prompts("RSI 2", "Momentum up. RSI 3")))


def test_attention_and_dtype_follow_the_recipe(tmp_path: Path) -> None:
    folder = str(tiny_models.folder(tmp_path / "model"))
    model, _ = load(folder, ModelConfig(base=folder, attention="sdpa", dtype="bfloat16"))
    assert model.config._attn_implementation == "sdpa"
    assert model.dtype == torch.bfloat16


def test_a_tokenizer_without_a_chat_template_gets_a_plain_one(tmp_path: Path) -> None:
    folder = tiny_models.folder(tmp_path / "model", made=tiny_models.tokenizer(chat_template=None))
    model, tokenizer = load(str(folder), ModelConfig(base=str(folder)))
    question = [{"role": "user", "content": "RSI 2"}]
    asked = tokenizer.apply_chat_template(question, tokenize=False, add_generation_prompt=True)
    whole = tokenizer.apply_chat_template([*question, {"role": "assistant", "content": "BUY"}], tokenize=False)
    assert asked == "RSI 2\n"
    assert whole == f"RSI 2\nBUY\n{tokenizer.eos_token}"
    policy = LanguagePolicy(model, tokenizer, name="x", kind="base", max_new_tokens=3)
    assert len(policy.generate(prompts("RSI 2", "RSI"))) == 2


def test_a_tokenizer_without_a_pad_token_pads_with_its_end_token_on_the_left(tmp_path: Path) -> None:
    bare = tiny_models.tokenizer(pad_token=None, padding_side="right")
    folder = tiny_models.folder(tmp_path / "model", made=bare, pad_token_id=None)
    _, tokenizer = load(str(folder), ModelConfig(base=str(folder)))
    assert tokenizer.pad_token == tokenizer.eos_token
    padded = tokenizer(["RSI 2", "RSI 2 Momentum up."], padding=True)
    assert padded.attention_mask[0][0] == 0
    assert padded.input_ids[0][0] == tokenizer.eos_token_id


# what cannot be loaded ---------------------------------------------------------------------------


def damaged(kind: str, tmp_path: Path) -> str:
    if kind == "no such folder":
        return str(tmp_path / "nothing" / "here")
    if kind == "no such name":
        return "nobody/no-such-model"
    folder = tiny_models.folder(tmp_path / "model")
    if kind == "no weights":
        (folder / "model.safetensors").unlink()
    if kind == "no config":
        (folder / "config.json").unlink()
    if kind == "half the weights":
        whole = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    if kind == "no model at all":
        shutil.rmtree(folder)
        folder.mkdir()
    return str(folder)


@pytest.mark.parametrize(
    "kind", ["no such folder", "no such name", "no weights", "no config", "half the weights", "no model at all"]
)
def test_a_model_that_cannot_be_loaded_is_named(kind: str, tmp_path: Path) -> None:
    source = damaged(kind, tmp_path)
    with pytest.raises(RecipeError) as caught:
        load(source, ModelConfig(base=source))
    assert f"'{source}' cannot be loaded" in str(caught.value)


def test_an_unknown_dtype_is_refused() -> None:
    with pytest.raises(ValidationError, match="'bfloat16'"):
        ModelConfig.model_validate({"dtype": "bfloat61"})


# adapters ----------------------------------------------------------------------------------------

LORA: dict[str, Any] = {"r": 2, "lora_alpha": 4}


def adapted(tmp_path: Path) -> tuple[Any, Path, ModelConfig]:
    """A model with adapters that do something, and the folder they were saved in."""
    from peft import get_peft_model

    base = tiny_models.folder(tmp_path / "base", "Qwen2")
    config = ModelConfig.model_validate({"base": str(base), "lora": LORA})
    model, tokenizer = load(str(base), config, trainable=True)
    model = get_peft_model(model, peft_config(config, model))
    torch.manual_seed(1)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3)
    model.save_pretrained(tmp_path / "adapters")
    tokenizer.save_pretrained(tmp_path / "adapters")
    return model, tmp_path / "adapters", config


def test_adapters_are_a_small_trainable_share_on_all_linear_layers(tmp_path: Path) -> None:
    model, _, _ = adapted(tmp_path)
    trainable, total = model.get_nb_trainable_parameters()
    assert 0 < trainable / total < 0.2
    touched = {name.split(".lora_")[0].split(".")[-1] for name, _ in model.named_parameters() if ".lora_" in name}
    assert touched == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


@pytest.mark.parametrize("trainable", [True, False])
def test_adapters_are_loaded_onto_their_base(trainable: bool, tmp_path: Path) -> None:
    model, folder, config = adapted(tmp_path)
    again, _ = load(str(folder), config, trainable=trainable)
    torch.testing.assert_close(logits(again), logits(model), atol=1e-6, rtol=1e-6)
    assert not torch.allclose(logits(again), logits(load(config.base, config)[0]), atol=1e-2)
    learns = {name for name, weight in again.named_parameters() if weight.requires_grad}
    adapters = {name for name, _ in again.named_parameters() if ".lora_" in name}
    assert learns == (adapters if trainable else set())
    # It has its adapters: no second set is laid over them.
    assert peft_config(config, again) is None


def test_without_lora_all_weights_are_trained(tmp_path: Path) -> None:
    folder = str(tiny_models.folder(tmp_path / "model"))
    config = ModelConfig(base=folder)
    model, _ = load(folder, config, trainable=True)
    assert peft_config(config, model) is None
    assert all(weight.requires_grad for weight in model.parameters())


def test_adapters_without_their_base_are_refused(tmp_path: Path) -> None:
    _, folder, config = adapted(tmp_path)
    shutil.rmtree(tmp_path / "base")
    with pytest.raises(RecipeError, match="cannot be loaded"):
        load(str(folder), config)


def test_lora_takes_any_field_of_peft(tmp_path: Path) -> None:
    folder = str(tiny_models.folder(tmp_path / "model"))
    config = ModelConfig.model_validate({"base": folder, "lora": {**LORA, "use_rslora": True}})
    made = peft_config(config, load(folder, config)[0])
    assert made is not None
    assert (made.use_rslora, made.r, made.task_type) == (True, 2, "CAUSAL_LM")
    assert json.loads((Path(folder) / "config.json").read_text())["model_type"] == "qwen3"


# variables of the chat template ------------------------------------------------------------------


def test_template_variables_are_saved_with_the_tokenizer(tmp_path: Path) -> None:
    made = tokenizer_like("qwen3")
    folder = str(tiny_models.folder(tmp_path / "model", made=made))
    question = [{"role": "user", "content": "RSI 2"}]
    plain, switched = ModelConfig(base=folder), ModelConfig(base=folder, template={"enable_thinking": False})

    def asked(source: str, config: ModelConfig) -> str:
        _, tokenizer = load(source, config)
        tokenizer.save_pretrained(tmp_path / "saved")
        return str(tokenizer.apply_chat_template(question, tokenize=False, add_generation_prompt=True))

    assert "<think>" not in asked(folder, plain)
    assert asked(folder, switched).endswith("<think>\n\n</think>\n\n")
    shutil.copytree(folder, tmp_path / "trained")
    shutil.copytree(tmp_path / "saved", tmp_path / "trained", dirs_exist_ok=True)
    for config in (plain, switched):
        assert asked(str(tmp_path / "trained"), config) == asked(folder, switched)
        assert load(str(tmp_path / "trained"), config)[1].chat_template.count("set enable_thinking") == 1


def test_a_variable_that_a_template_does_not_use_is_refused(tmp_path: Path) -> None:
    folder = str(tiny_models.folder(tmp_path / "model"))
    with pytest.raises(RecipeError, match=r"model\.template\.enable_thinking"):
        load(folder, ModelConfig(base=folder, template={"enable_thinking": False}))


@pytest.mark.parametrize("name", ["enable-thinking", "a = 1", "", "1st"])
def test_a_variable_must_have_a_valid_name(name: str) -> None:
    with pytest.raises(ValidationError, match="template"):
        ModelConfig(template={name: True})
