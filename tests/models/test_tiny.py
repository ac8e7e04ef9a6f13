"""The local model and its tokenizer: the same from the same texts, with the task's markers whole."""

from itertools import pairwise

import pytest
import tiny_models
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tradeschool.models.load import TinyConfig, build_model, build_tokenizer

SMALL = TinyConfig(vocabulary=320, hidden_size=32, layers=2, heads=4, intermediate_size=64)
TOKENIZER = tiny_models.tokenizer()


def test_heads_that_do_not_divide_the_hidden_size_are_refused() -> None:
    with pytest.raises(ValidationError, match="hidden_size is 100 and heads 3, but hidden_size must be a multiple"):
        TinyConfig(hidden_size=100, heads=3)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_text_survives_the_tokenizer(text: str) -> None:
    ids = TOKENIZER(text, add_special_tokens=False).input_ids
    assert TOKENIZER.decode(ids, skip_special_tokens=False) == text


def test_markers_are_one_token_and_digits_stay_apart() -> None:
    for word in tiny_models.WORDS:
        assert len(TOKENIZER(word, add_special_tokens=False).input_ids) == 1
    pieces = TOKENIZER.tokenize("RSI 28.4")
    assert [piece for piece in pieces if any(c.isdigit() for c in piece)] == ["2", "8", "4"]
    assert len(TOKENIZER) <= 320


def test_frequent_text_takes_fewer_tokens_than_letters() -> None:
    assert len(TOKENIZER("Momentum up. Market trending.").input_ids) < 15


def test_the_same_texts_give_the_same_tokenizer() -> None:
    again = build_tokenizer(tiny_models.TEXTS, tiny_models.WORDS, TinyConfig(vocabulary=320))
    assert again.get_vocab() == TOKENIZER.get_vocab()


def test_appending_a_turn_never_changes_the_tokens_before_it() -> None:
    turns = [
        {"role": "system", "content": "Rate the stock."},
        {"role": "user", "content": "RSI 2"},
        {"role": "assistant", "content": "<think>Up.</think>[[[BUY]]]"},
        {"role": "user", "content": "And now?"},
    ]
    texts = [TOKENIZER.apply_chat_template(turns[: n + 1], tokenize=False) for n in range(4)]
    assert all(later.startswith(earlier) for earlier, later in pairwise(texts))
    asked = TOKENIZER.apply_chat_template(turns[:2], tokenize=False, add_generation_prompt=True)
    assert texts[2].startswith(asked)
    assert texts[2].endswith(TOKENIZER.eos_token)


def test_the_model_has_the_tokenizers_vocabulary_and_the_seeds_weights() -> None:
    import torch

    first, again, other = (build_model(TOKENIZER, SMALL, seed) for seed in (1, 1, 2))
    assert first.get_input_embeddings().weight.shape == (len(TOKENIZER), 32)
    assert first.config.eos_token_id == TOKENIZER.eos_token_id
    assert first.generation_config.eos_token_id == TOKENIZER.eos_token_id
    weights, same, different = (model.state_dict() for model in (first, again, other))
    assert all(torch.equal(weights[key], same[key]) for key in weights)
    assert not torch.equal(weights["model.embed_tokens.weight"], different["model.embed_tokens.weight"])


def test_the_defaults_make_about_a_million_parameters() -> None:
    count = sum(weight.numel() for weight in build_model(TOKENIZER, TinyConfig(), 0).parameters())
    assert 0.9e6 < count < 1.5e6


def test_a_misspelt_setting_is_refused() -> None:
    with pytest.raises(ValidationError, match="hiden_size"):
        TinyConfig.model_validate({"hiden_size": 64})
