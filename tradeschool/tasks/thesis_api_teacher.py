"""The API teacher: from the data of a prompt and a rating to a thesis, by a model behind a chat server.

Reverse reasoning after Trading-R1 (arXiv 2509.11420): a plan, notes on each section of the data, and the thesis that
joins them. A thesis is accepted where it ends in the given rating and all that it quotes stands in the prompt. One that
is not goes back with the reason; after some attempts the offline teacher writes it.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from tradeschool.errors import ParseError
from tradeschool.tasks.base import Example, Message
from tradeschool.tasks.thesis import ThesisTask, instructions
from tradeschool.text.parse import RATING_NAMES
from tradeschool.text.thesis import THINK, Thesis, parse_thesis

if TYPE_CHECKING:
    from tradeschool.policies.remote import ChatClient

ROLE = (
    "You write investment theses that a language model will learn from. You are told the rating that a thesis has to "
    "end in, and argue for it from the given data alone. Never mention that you were told the rating, and nothing that "
    "is not in the data. Quote the data word by word, and write no figure outside of a quotation."
)
PLAN = (
    "{data}\n\nThe thesis will end in the rating {rating}. Plan it in at most 120 words: what in the data speaks for "
    "this rating, what against it, and in which order to treat it. Write the plan alone."
)
NOTES = (
    "The data on {source}:\n{lines}\n\nThe thesis will end in the rating {rating}. Its plan:\n{plan}\n\nWrite at most "
    "{points} points on what this part of the data says for and against the rating. A point is one line that begins "
    "with '- ', states an opinion, and ends with a quotation of the data *word by word* between single asterisks and "
    "`{source}` between backticks."
)
THESIS = (
    "{data}\n\nThe plan:\n{plan}\n\nNotes:\n{notes}\n\nWrite the thesis. Its form: {form} It ends in the rating "
    "{rating}. Answer with the thesis alone."
)
AGAIN = "This thesis cannot be used: {reason}. Write all of it again with this corrected, and nothing else."
_FENCE = re.compile(r"\A```\w*\n(.*?)\n?```\s*\Z", re.DOTALL)
_FIGURE = re.compile(r"\d+(?:[.,]\d+)*")
_NUMBERED = re.compile(r"^\s*\d{1,2}[.)]\s", re.MULTILINE)


class Fault(NamedTuple):
    """Why a thesis is not accepted: in a word that is counted, and in a sentence for the server."""

    kind: str
    reason: str


class Taught(NamedTuple):
    """A thesis with its decision.

    Attributes:
        text: the whole answer.
        attempts: theses that the server was asked for.
        accepted: whether it is the server's; otherwise the offline teacher's.
    """

    text: str
    attempts: int
    accepted: bool


class ApiTeacher:
    """Writes theses by a chat server.

    Args:
        task: whose questions are answered; its theses argue for their rating.
        client: of the server.
        attempts: theses that it is asked for before the offline teacher writes one.

    Attributes:
        faults: of theses that were not accepted, by kind.
    """

    def __init__(self, task: ThesisTask, client: "ChatClient", attempts: int) -> None:
        self.faults: Counter[str] = Counter()
        self._task, self._client, self._attempts = task, client, attempts

    def write(self, chosen: Sequence[tuple[Example, int]]) -> list[Taught]:
        """A thesis for each question and rating, in order. All requests of a step are sent together.

        Raises:
            RemoteError: the server refuses, answers nothing, or the spending limit is reached.
        """
        asked = self._asked(chosen)
        current = dict(enumerate(asked))
        found: dict[int, Taught] = {}
        for attempt in range(1, self._attempts + 1):
            places = list(current)
            for place, answer in zip(places, self._client.complete([current[i] for i in places]), strict=True):
                example, rating = chosen[place]
                text = whole(answer or "", self._task.simple)
                fault = fault_of(self._task, example, rating, text)
                if fault is None:
                    found[place] = Taught(text, attempt, accepted=True)
                    del current[place]
                    continue
                self.faults[fault.kind] += 1
                if text:  # otherwise the request has failed, and is sent again as it was
                    again: Message = {"role": "user", "content": AGAIN.format(reason=fault.reason)}
                    current[place] = [*asked[place], {"role": "assistant", "content": text}, again]
            if not current:
                break
        for place in current:
            found[place] = Taught(self._task.answer(*chosen[place]), self._attempts, accepted=False)
        return [found[place] for place in range(len(chosen))]

    def _asked(self, chosen: Sequence[tuple[Example, int]]) -> list[list[Message]]:
        """The conversations that ask for the theses, after plans and notes."""
        task, filled = self._task, []
        for example, rating in chosen:
            filled.append({"data": task.messages(example)[-1]["content"], "rating": RATING_NAMES[rating]})
        plans = self._complete([PLAN.format(**one) for one in filled])
        parts = [_parts(task, example) for example, _ in chosen]
        points = task.form.bullets[1]
        wanted = [
            NOTES.format(source=source, lines=lines, plan=plan, points=points, rating=one["rating"])
            for one, plan, own in zip(filled, plans, parts, strict=True)
            for source, lines in own.items()
        ]
        notes = iter(self._complete(wanted))
        form = instructions(task.form, task.simple)
        texts = []
        for one, plan, own in zip(filled, plans, parts, strict=True):
            told = "\n".join(f"{source}:\n{next(notes)}" for source in own)
            texts.append(THESIS.format(**one, plan=plan, notes=told, form=form))
        return [_conversation(text) for text in texts]

    def _complete(self, texts: Sequence[str]) -> list[str]:
        """The answers without the thinking before them; an empty one where a request failed."""
        answers = self._client.complete([_conversation(text) for text in texts]) if texts else []
        return [(answer or "").rpartition(f"</{THINK}>")[2].strip() for answer in answers]


def _conversation(text: str) -> list[Message]:
    return [{"role": "system", "content": ROLE}, {"role": "user", "content": text}]


def _parts(task: ThesisTask, example: Example) -> dict[str, str]:
    """The lines of each section of the data in which something is known."""
    parts: dict[str, str] = {}
    for source, line in task.index(example).lines:
        parts[source] = f"{parts[source]}\n{line}" if source in parts else line
    return parts


def whole(answer: str, simple: bool) -> str:
    """The thesis in an answer: without a fence around it, and without what the model thought before it."""
    text = answer.strip()
    if fence := _FENCE.match(text):
        text = fence[1].strip()
    return text[max(text.rfind("<reasoning>" if simple else f"<{THINK}>"), 0) :]


def fault_of(task: ThesisTask, example: Example, rating: int, text: str) -> Fault | None:
    """What is wrong with a thesis that should end in a rating; None where it can be imitated."""
    if not text:
        return Fault("no answer", "it is empty")
    try:
        decided = task.parse(text)
    except ParseError as error:
        return Fault("unreadable", str(error))
    if decided != rating:
        wrong, right = RATING_NAMES[decided], RATING_NAMES[rating]
        return Fault("decision", f"it ends in {wrong}, and has to argue for and end in {right}")
    return _citation_fault(task, example, parse_thesis(text)) or _figure_fault(task, example, text)


def _citation_fault(task: ThesisTask, example: Example, thesis: Thesis) -> Fault | None:
    index = task.index(example)
    bullets = [bullet for section in thesis.sections for bullet in section.bullets]
    if not any(bullet.quotes for bullet in bullets):
        return Fault("quotation", "it quotes nothing between single asterisks in its points")
    for bullet in bullets:
        if bullet.broken:
            return Fault("quotation", f"marks are nested or not closed in the point '{bullet.opinion.strip()[:80]}'")
        for quote in bullet.quotes:
            if not index.find(quote):
                return Fault(
                    "quotation", f"'{quote}' does not stand in the data word by word, with three words or more"
                )
        if unknown := [source for source in bullet.sources if source.strip().lower() not in index.sources]:
            known = ", ".join(sorted(index.sources))
            return Fault("source", f"'{unknown[0]}' is not a source of the data; there are {known}")
    return None


def _figure_fault(task: ThesisTask, example: Example, text: str) -> Fault | None:
    """A figure that is not in the data was invented, also where it is not quoted."""
    known = set(_FIGURE.findall(task.messages(example)[-1]["content"]))
    invented = next((one for one in _FIGURE.findall(_NUMBERED.sub("", text)) if one not in known), None)
    return Fault("figure", f"the figure {invented} does not stand in the data") if invented else None
