"""A language model as an agent: every episode is a conversation that is appended to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tradeschool.env.conversation import FACTS, Form, first_messages, turn
from tradeschool.env.harness import State
from tradeschool.errors import ParseError
from tradeschool.text.orders import parse_orders

if TYPE_CHECKING:
    from tradeschool.models.turn import Message


@dataclass
class Reading:
    """Of one episode: answers given, those of them with an order that cannot be read, and whether room ran out."""

    answers: int = 0
    unread: int = 0
    out_of_room: bool = False


class LanguageTrader:
    """Answers text observations; ``conversations`` holds, by seed, the messages of every episode played.

    ``readings`` says of each, by seed, how much of it could be read; ``figures`` sums that up.

    Args:
        model, tokenizer: as ``models.load.load`` gives them.
        form, facts: how a day is told, and what of it; see ``env/conversation.py``.
        max_new_tokens: of one day's answer.
        temperature: 0 takes the likeliest token at every step; else tokens are drawn.
        seed: of what is drawn. Every episode has a generator of its own, made of this seed and the episode's, so what
            it is told and says is the same whichever episodes are played beside it.
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
        seed: int = 0,
        batch: int = 64,
        on_day: Callable[[int], None] = lambda count: None,
    ) -> None:
        self.name, self.batch = name, batch
        self.conversations: dict[int, list[Message]] = {}
        self.readings: dict[int, Reading] = {}
        self._model, self._tokenizer, self._form, self._facts = model, tokenizer, form, facts
        self._max_new_tokens, self._temperature, self._seed = max_new_tokens, temperature, seed
        self._on_day = on_day

    @property
    def figures(self) -> dict[str, float]:
        """``unread``, the share of answers that could not be read, and ``out_of_room``, that of episodes cut short."""
        readings = self.readings.values()
        unread = sum(one.unread for one in readings) / max(sum(one.answers for one in readings), 1)
        out_of_room = sum(one.out_of_room for one in readings) / max(len(readings), 1)
        return {"unread": round(unread, 4), "out_of_room": round(out_of_room, 4)}

    def act(self, observations: Sequence[str], state: State) -> list[str]:
        """One answer an episode; "" where it is over, or has no room left in the model's positions."""
        live = state.live_B.tolist()
        if state.day == 0:
            self._begin(observations, state)
        else:
            heard = [turn(text, self._form, self._facts) for text in observations]
            state.memory["dialogue"].hear([text if alive else None for text, alive in zip(heard, live, strict=True)])
        answers: list[str | None] = state.memory["dialogue"].answer(live)
        for b, (seed, answer) in enumerate(zip(state.seeds, answers, strict=True)):
            if answer is None:
                self.readings[seed].out_of_room |= live[b]
                continue
            if state.day:
                self.conversations[seed].append({"role": "user", "content": heard[b]})
            self.conversations[seed].append({"role": "assistant", "content": answer})
            self.readings[seed].answers += 1
            self.readings[seed].unread += not _can_be_read(answer, state.names[b])
        self._on_day(len(answers))
        return [answer or "" for answer in answers]

    def _begin(self, observations: Sequence[str], state: State) -> None:
        from tradeschool.models.dialogue import Dialogue
        from tradeschool.models.turn import end_tokens
        from tradeschool.models.turns import Turns

        self._model.eval()
        turns = Turns.of(self._tokenizer, end_tokens(self._model, self._tokenizer))
        messages = [first_messages(state.config, text, self._form, self._facts) for text in observations]
        dialogue = Dialogue(self._model, turns, max_new_tokens=self._max_new_tokens, warp=self._warp())
        dialogue.open(messages, [(self._seed, seed) for seed in state.seeds])
        state.memory["dialogue"] = dialogue
        self.conversations.update(zip(state.seeds, messages, strict=True))
        self.readings.update((seed, Reading()) for seed in state.seeds)

    def _warp(self) -> Any | None:
        if not self._temperature:
            return None
        from transformers import LogitsProcessorList, TemperatureLogitsWarper

        return LogitsProcessorList([TemperatureLogitsWarper(self._temperature)])


def _can_be_read(answer: str, names: Sequence[str]) -> bool:
    try:
        parse_orders(answer, names)
    except ParseError:
        return False  # a bad answer is data: the environment refuses it, and it is counted
    return True
