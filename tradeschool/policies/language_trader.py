"""A language model as an agent: every episode is a conversation that is appended to."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tradeschool.env.conversation import FACTS, Form, opening, turn
from tradeschool.env.harness import State

if TYPE_CHECKING:
    from tradeschool.models.turns import Message


class LanguageTrader:
    """Answers text observations; ``conversations`` holds, by seed, the messages of every episode played.

    Args:
        model, tokenizer: as ``models.load.load`` gives them.
        form, facts: how a day is told, and what of it; see ``env/conversation.py``.
        max_new_tokens: of one day's answer.
        temperature: 0 takes the likeliest token at every step, so that episodes are reproducible.
        batch: episodes played side by side: what ``harness.play`` should be told.
        on_day: called with the number of answers given after every day.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        name: str,
        form: Form = "text",
        facts: Sequence[str] = FACTS,
        max_new_tokens: int = 64,
        temperature: float = 0.0,
        batch: int = 64,
        on_day: Callable[[int], None] = lambda count: None,
    ) -> None:
        self.name, self.batch = name, batch
        self.conversations: dict[int, list[Message]] = {}
        self._model, self._tokenizer, self._form, self._facts = model, tokenizer, form, facts
        self._max_new_tokens, self._temperature = max_new_tokens, temperature
        self._on_day = on_day

    def act(self, observations: Sequence[str], state: State) -> list[str]:
        """One answer an episode; "" where it is over, or has no room left in the model's positions."""
        heard = [turn(text, self._form, self._facts) for text in observations]
        live = state.live_B.tolist()
        if state.day == 0:
            self._begin(heard, state)
        else:
            state.memory["dialogue"].hear([text if alive else None for text, alive in zip(heard, live, strict=True)])
        answers: list[str] = state.memory["dialogue"].answer(live)
        spoken = [alive and not full for alive, full in zip(live, state.memory["dialogue"].full, strict=True)]
        for seed, text, answer, spoke in zip(state.seeds, heard, answers, spoken, strict=True):
            if spoke and state.day:
                self.conversations[seed].append({"role": "user", "content": text})
            if spoke:
                self.conversations[seed].append({"role": "assistant", "content": answer})
        self._on_day(len(answers))
        return answers

    def _begin(self, heard: list[str], state: State) -> None:
        from tradeschool.models.dialogue import Dialogue
        from tradeschool.models.turns import Turns, end_tokens

        self._model.eval()
        turns = Turns.of(self._tokenizer, end_tokens(self._model, self._tokenizer))
        messages = [first_messages(opening(state.config, self._form, self._facts), text) for text in heard]
        dialogue = Dialogue(self._model, turns, max_new_tokens=self._max_new_tokens, warp=self._warp())
        dialogue.open(messages)
        state.memory["dialogue"] = dialogue
        self.conversations.update(zip(state.seeds, messages, strict=True))

    def _warp(self) -> Any | None:
        if not self._temperature:
            return None
        from transformers import LogitsProcessorList, TemperatureLogitsWarper

        return LogitsProcessorList([TemperatureLogitsWarper(self._temperature)])


def first_messages(rules: str, heard: str) -> "list[Message]":
    """What every episode begins with: the rules and the first day."""
    return [{"role": "system", "content": rules}, {"role": "user", "content": heard}]
