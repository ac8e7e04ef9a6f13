"""A language model of transformers as a policy."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tradeschool.models.turn import Turn, end_tokens
from tradeschool.policies.base import Kind, Policy
from tradeschool.tasks.base import Message, Prompt


class LanguagePolicy(Policy):
    """Answers by generating text, in batches of prompts of similar length.

    Of a checkpoint's generation_config.json only the tokens that end an answer count: a repetition penalty or the like
    is none of what training samples from, and would punish the very words that a question names.

    Args:
        model, tokenizer: as ``models.load.load`` gives them.
        temperature: 0 takes the likeliest token at every step, so that answers are reproducible.
        on_batch: called with the number of prompts answered so far.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        name: str,
        kind: Kind,
        max_new_tokens: int = 64,
        temperature: float = 0.0,
        batch_size: int = 256,
        on_batch: Callable[[int], None] = lambda count: None,
    ) -> None:
        self.name, self.kind = name, kind
        self._model, self._turn = model, Turn.of(tokenizer, end_tokens(model, tokenizer))
        self._max_new_tokens, self._temperature = max_new_tokens, temperature
        self._batch_size, self._on_batch = batch_size, on_batch

    def reply(self, prompts: Sequence[Prompt]) -> list[str]:
        """One answer per prompt, special tokens removed."""
        asked = [prompt.messages for prompt in prompts]
        order = sorted(range(len(asked)), key=lambda i: sum(len(message["content"]) for message in asked[i]))
        replies = [""] * len(asked)
        self._model.eval()
        for start in range(0, len(order), self._batch_size):
            batch = order[start : start + self._batch_size]
            for i, reply in zip(batch, self._generate([asked[i] for i in batch]), strict=True):
                replies[i] = reply
            self._on_batch(start + len(batch))
        return replies

    def _generate(self, asked: list[list[Message]]) -> list[str]:
        import torch

        inputs = self._turn.questions(asked).to(self._model.device)
        sampling: dict[str, Any] = {"do_sample": False}
        if self._temperature:  # top_k: by default transformers draws from the 50 likeliest alone
            sampling = {"do_sample": True, "temperature": self._temperature, "top_k": 0}
        with torch.inference_mode(), _plain_generation(self._model):
            output = self._model.generate(
                input_ids=inputs.input_ids,
                attention_mask=inputs.attention_mask,
                max_new_tokens=self._max_new_tokens,
                pad_token_id=self._turn.tokenizer.pad_token_id,
                eos_token_id=list(self._turn.ends),
                **sampling,
            )
        return [self._turn.decode(said) for said in output[:, inputs.input_ids.shape[1] :].tolist()]


@contextmanager
def _plain_generation(model: Any) -> Iterator[None]:
    """Let ``generate`` know nothing of the model's own settings, which it would add to what it is told."""
    from transformers import GenerationConfig

    own = model.generation_config
    model.generation_config = GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = own
