"""Shared by the tests of training."""

from collections.abc import Iterator

import pytest

from tradeschool.models import load


@pytest.fixture(scope="module")
def few_texts() -> Iterator[None]:
    """Tiny tokenizers are trained on few texts: playing episodes for them takes longer than the training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(load, "TOKENIZER_EXAMPLES", 100)
        yield
