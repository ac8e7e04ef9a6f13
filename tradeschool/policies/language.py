"""A language model of transformers as a policy, for questions of one turn and for conversations of several."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tradeschool.chat import Message
from tradeschool.models.chat_renderer import ChatRenderer, end_tokens
from tradeschool.policies.base import Kind, Policy

if TYPE_CHECKING:
    from tradeschool.models.batched_chat import BatchedChat


class LanguagePolicy(Policy):
    """Generates answers in batches of prompts of similar length.

    Of a checkpoint's generation_config.json only the tokens that end an answer are used. Training samples without a
    repetition penalty, which would also punish words that a question contains.

    Args:
        model, tokenizer: as ``models.load.load`` returns them.
        name: in tables and traces.
        kind: how a report treats its row.
        max_new_tokens: of one answer.
        temperature: 0 takes the most likely token at every step, so that answers are reproducible.
        batch_size: prompts of one forward pass.
        seed: of what :meth:`chat` draws, together with the seed of each conversation.
        on_batch: called with the number of answers so far.
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
        seed: int = 0,
        on_batch: Callable[[int], None] = lambda count: None,
    ) -> None:
        self.name, self.kind = name, kind
        self._model, self._renderer = model, ChatRenderer.of(tokenizer, end_tokens(model, tokenizer))
        self._max_new_tokens, self._temperature = max_new_tokens, temperature
        self._batch_size, self._seed, self._on_batch = batch_size, seed, on_batch

    def generate(self, conversations: Sequence[Sequence[Message]], n: int = 1) -> list[list[str]]:
        """``n`` answers to each conversation, without special tokens; ``n`` > 1 needs a temperature to differ."""
        prompts = [messages for messages in conversations for _ in range(n)]
        order = sorted(range(len(prompts)), key=lambda i: sum(len(message["content"]) for message in prompts[i]))
        answers = [""] * len(prompts)
        self._model.eval()
        for start in range(0, len(order), self._batch_size):
            batch = order[start : start + self._batch_size]
            for i, answer in zip(batch, self._generate([prompts[i] for i in batch]), strict=True):
                answers[i] = answer
            self._on_batch(start + len(batch))
        return [answers[i : i + n] for i in range(0, len(answers), n)]

    def chat(self) -> "BatchedChat":
        """Conversations on a key-value cache, which computes every token once.

        Raises:
            RecipeError: the chat template cannot write several turns.
        """
        from transformers import LogitsProcessorList, TemperatureLogitsWarper

        from tradeschool.models.batched_chat import BatchedChat

        self._model.eval()
        warp = LogitsProcessorList([TemperatureLogitsWarper(self._temperature)]) if self._temperature else None
        return BatchedChat(self._model, self._renderer, max_new_tokens=self._max_new_tokens, warp=warp, seed=self._seed)

    def _generate(self, prompts: list[Sequence[Message]]) -> list[str]:
        import torch

        inputs = self._renderer.prompt_batch(prompts).to(self._model.device)
        sampling: dict[str, Any] = {"do_sample": False}
        if self._temperature:  # top_k: by default transformers draws from the 50 most likely tokens alone
            sampling = {"do_sample": True, "temperature": self._temperature, "top_k": 0}
        with torch.inference_mode(), _without_own_settings(self._model):
            output = self._model.generate(
                input_ids=inputs.input_ids,
                attention_mask=inputs.attention_mask,
                max_new_tokens=self._max_new_tokens,
                pad_token_id=self._renderer.tokenizer.pad_token_id,
                eos_token_id=list(self._renderer.ends),
                **sampling,
            )
        return [self._renderer.decode(ids) for ids in output[:, inputs.input_ids.shape[1] :].tolist()]


@contextmanager
def _without_own_settings(model: Any) -> Iterator[None]:
    """Hide the model's own generation settings, which ``generate`` would add to its arguments."""
    from transformers import GenerationConfig

    own = model.generation_config
    model.generation_config = GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = own
