"""Groups of all decisions in episodes: a whole conversation is one row, with the answers of each day as short branches.

The task says what every answer of every day would have earned (``tasks/what_if.py``), so no answer is generated. The
row is the conversation as it was played. Where the answers of a day begin, their tokens branch off as a prefix tree, up
to where an answer can be told from all others; an attention mask lets a branch see the conversation up to its day. So
twenty groups of an episode cost hardly more than the episode itself.

Shapes: B episodes, S positions of a row, D days, A answers of a day, K tokens that state an answer, P positions whose
logits are needed, N = B x D groups.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tradeschool.errors import RecipeError
from tradeschool.models.chat_renderer import ChatRenderer, positions_of
from tradeschool.models.load import ModelConfig, preview
from tradeschool.rollout import MultiTurnTask
from tradeschool.tasks.base import Example, Task
from tradeschool.tasks.what_if import WhatIf, WhatIfTask
from tradeschool.train.decision_groups import DecisionLoss, WholeGroupTrainer, mass_loss

NONE = -100
"""A label of a position that has none, as torch and transformers have it."""
COPY = 1_000_000
"""Between the variants of the episodes that TRL takes for one group."""
_HIDDEN = torch.finfo(torch.float32).min


# rows ---------------------------------------------------------------------------------------------


@dataclass
class Row:
    """An episode as tokens: the conversation, and behind it the branches.

    Attributes:
        ids: tokens.
        places: position of each in its conversation.
        seen: how many first tokens of the row each may see, besides its own branch.
        parents: the token before it in its branch; -1 for those of the conversation and the first of a branch.
        labels: the next token, where it is part of a given answer and does not state which one; else ``NONE``.
        paths: by day and answer, the position and the next token of every step that states the answer.
    """

    ids: list[int] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    seen: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    paths: list[list[list[tuple[int, int]]]] = field(default_factory=list)

    @classmethod
    def of(cls, renderer: ChatRenderer, episode: WhatIf, known: dict[str, list[int]] | None = None) -> "Row":
        """The row of an episode. ``known`` are the tokens of answers; new ones are added."""
        known = {} if known is None else known
        row, messages = cls(), episode.messages
        row._append(renderer.prompt(messages[:2]))
        groups = []
        for day, texts in enumerate(episode.answers):
            for text in texts:
                if text not in known:
                    known[text] = renderer.answer(text)
            answers = [known[text] for text in texts]
            given = answers[episode.given[day]]
            start, stated = stating(answers)
            groups.append((len(row.ids) - 1 + start, stated))
            told = start + len(stated[episode.given[day]])
            # The label of a token is the next one; that of the token before the answer is its first.
            labels = [*given[:start], *[NONE] * (told - start), *given[told:]]
            row.labels[-1] = labels[0]
            row._append(given, [*labels[1:], NONE])
            if day + 1 < len(episode.answers):
                row._append(renderer.next_turn([messages[2 * day + 3]], given))
        for root, stated in groups:
            row._branch(root, stated)
        return row

    def _append(self, ids: Sequence[int], labels: Sequence[int] = ()) -> None:
        first = len(self.ids)
        self.ids += ids
        self.places += range(first, first + len(ids))
        self.seen += range(first + 1, first + len(ids) + 1)
        self.parents += [-1] * len(ids)
        self.labels += labels or [NONE] * len(ids)

    def _branch(self, root: int, stated: Sequence[Sequence[int]]) -> None:
        """The branches of a day behind the token ``root``."""
        nodes: dict[tuple[int, ...], int] = {(): root}
        paths: list[list[tuple[int, int]]] = []
        for answer in stated:
            path = []
            for depth, token in enumerate(answer):
                before = tuple(answer[:depth])
                if before not in nodes:
                    parent = nodes[before[:-1]]
                    nodes[before] = len(self.ids)
                    self.ids.append(before[-1])
                    self.places.append(root + depth)
                    self.seen.append(root + 1)
                    self.parents.append(parent if depth > 1 else -1)
                    self.labels.append(NONE)
                path.append((nodes[before], token))
            paths.append(path)
        self.paths.append(paths)


def stating(answers: Sequence[Sequence[int]]) -> tuple[int, list[list[int]]]:
    """Where answers part, and the tokens from there on that tell each from all others; none where there is but one."""
    if len(answers) == 1:
        return len(answers[0]), [[]]
    start = next(i for i in range(max(map(len, answers))) if len({tuple(answer[: i + 1]) for answer in answers}) > 1)
    stated = []
    for answer in answers:
        end = start + 1
        while sum(list(other[:end]) == list(answer[:end]) for other in answers) > 1:
            end += 1
        stated.append(list(answer[start:end]))
    return start, stated


def batch_of(rows: Sequence[Row], episodes: Sequence[WhatIf], pad: int) -> dict[str, Tensor]:
    """Rows as tensors, padded right: [B, S], and by day, answer and step [B, D, A, K]."""
    days = max(len(row.paths) for row in rows)
    most = max(len(paths) for row in rows for paths in row.paths)
    steps = max(1, *(len(path) for row in rows for paths in row.paths for path in paths))
    path_BDAK2 = torch.full((len(rows), days, most, steps, 2), -1)
    rewards_BDA = torch.full((len(rows), days, most), torch.nan, dtype=torch.float64)
    for b, (row, episode) in enumerate(zip(rows, episodes, strict=True)):
        for d, paths in enumerate(row.paths):
            rewards_BDA[b, d, : len(paths)] = torch.from_numpy(episode.rewards[d])
            for a, path in enumerate(paths):
                path_BDAK2[b, d, a, : len(path)] = torch.tensor(path).view(-1, 2)

    def padded(values: Sequence[Sequence[int]], filling: int) -> Tensor:
        rows_of = [torch.tensor(own) for own in values]
        return torch.nn.utils.rnn.pad_sequence(rows_of, batch_first=True, padding_value=filling)

    return {
        "input_ids": padded([row.ids for row in rows], pad),
        "position_ids": padded([row.places for row in rows], 0),
        "seen": padded([row.seen for row in rows], 0),
        "parents": padded([row.parents for row in rows], -1),
        "labels": padded([row.labels for row in rows], NONE),
        "node": path_BDAK2[..., 0],
        "token": path_BDAK2[..., 1],
        "rewards": rewards_BDA.float(),
    }


def attention_mask(seen_BS: Tensor, parents_BS: Tensor) -> Tensor:
    """Additive mask [B, 1, S, S]: a token sees the conversation before it, its own branch and itself."""
    position_S = torch.arange(seen_BS.shape[1], device=seen_BS.device)
    seen_BSS = (position_S < seen_BS[:, :, None]) | (position_S == position_S[:, None])
    ancestor_BS = parents_BS
    while bool((ancestor_BS >= 0).any()):
        seen_BSS |= position_S == ancestor_BS[:, :, None]
        ancestor_BS = parents_BS.gather(1, ancestor_BS.clamp(min=0)).masked_fill(ancestor_BS < 0, -1)
    return torch.zeros(seen_BSS.shape, device=seen_BS.device).masked_fill(~seen_BSS, _HIDDEN)[:, None]


def log_probs(model: Any, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Of every answer of every day [B, D, A], 0 where there is none, and of the tokens with a label [M]."""
    node_BDAK, token_BDAK, labels_BS = inputs["node"], inputs["token"], inputs["labels"]
    count, length = labels_BS.shape
    needed_BS = labels_BS != NONE
    rows_B1 = torch.arange(count, device=labels_BS.device)[:, None]
    stated_BX = node_BDAK.flatten(1)
    needed_BS[rows_B1, stated_BX.clamp(min=0)] |= stated_BX >= 0
    keep_P = needed_BS.any(0).nonzero()[:, 0]
    mask_B1SS = attention_mask(inputs["seen"], inputs["parents"])
    logits_BPV = model(
        input_ids=inputs["input_ids"],
        attention_mask=mask_B1SS.to(next(model.parameters()).dtype),
        position_ids=inputs["position_ids"],
        logits_to_keep=keep_P,
        use_cache=False,
    ).logits
    place_S = torch.zeros(length, dtype=torch.long, device=keep_P.device)
    place_S[keep_P] = torch.arange(len(keep_P), device=keep_P.device)
    logps_BPV = logits_BPV.float().log_softmax(-1)
    real_BDAK = node_BDAK >= 0
    flat_BDAK = logps_BPV[
        rows_B1[:, :, None, None], place_S[node_BDAK.clamp(min=0)], token_BDAK.clamp(min=0)
    ].masked_fill(~real_BDAK, 0.0)
    b_M, s_M = (labels_BS != NONE).nonzero(as_tuple=True)
    return flat_BDAK.sum(-1), logps_BPV[b_M, place_S[s_M], labels_BS[b_M, s_M]]


# training -----------------------------------------------------------------------------------------


class WhatIfTrainer(WholeGroupTrainer):
    """TRL's GRPO trainer on episodes with the rewards of all answers. Batching, logging and checkpoints are TRL's.

    ``num_generations`` is 2 or more because TRL wants groups of answers; here every episode has a start of its own.

    Args:
        task: a task of episodes that knows the rewards of all answers.
        examples: of the training dataset, whose column ``example`` holds their index.
        renderer: of the model's chat template.
        loss: what is trained on.
        options: of TRL's trainer.
    """

    def __init__(
        self, *, task: Task, examples: Sequence[Example], renderer: ChatRenderer, loss: DecisionLoss, **options: Any
    ) -> None:
        super().__init__(**options)
        self._task, self._examples, self._renderer, self._loss = task, examples, renderer, loss
        self._known: dict[str, list[int]] = {}

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        task, numbers = self._task, [row["example"] for row in inputs]
        assert isinstance(task, WhatIfTask)
        assert isinstance(task, MultiTurnTask)
        # An episode depends on the seed and its place alone, so that a resumed run trains on the same ones.
        copies = [i % self.num_generations for i in range(len(numbers))]
        seeds = [(self.args.seed, 31, *pair) for pair in zip(numbers, copies, strict=True)]
        # Other dates as well as other stocks: what moves all stocks of a date alike is noise to every order.
        apart = max(len(self._examples) // self.num_generations, 1)
        drawn = [
            self._examples[(number + apart * copy) % len(self._examples)]
            for number, copy in zip(numbers, copies, strict=True)
        ]
        starts = [task.variant(one, one.variant + COPY * copy) for one, copy in zip(drawn, copies, strict=True)]
        episodes = task.what_if(starts, seeds)
        rows = [Row.of(self._renderer, episode, self._known) for episode in episodes]
        check_room("group: decisions", rows, positions_of(self.model))
        batch = batch_of(rows, episodes, self.processing_class.pad_token_id)
        centred_BDA = batch["rewards"] - batch["rewards"].nanmean(-1, keepdim=True)
        batch["advantages"] = self._scaled(centred_BDA)
        return {name: value.to(self.accelerator.device) for name, value in batch.items()}

    def _scaled(self, centred_BDA: Tensor) -> Tensor:
        """Divided by the spread in the batch, in each group, or not, as ``scale_rewards`` says."""
        if self.scale_rewards == "none":
            return centred_BDA
        square_BDA = centred_BDA**2
        if self.scale_rewards == "group":
            return centred_BDA / (square_BDA.nanmean(-1, keepdim=True).sqrt() + 1e-4)
        mean = self.accelerator.gather(square_BDA.nanmean().reshape(1).to(self.accelerator.device)).mean()
        return centred_BDA / (mean.cpu().sqrt() + 1e-4)

    def _compute_loss(self, model: Any, inputs: Mapping[str, Tensor]) -> Tensor:
        log_probs_BDA, labelled_M = log_probs(model, inputs)
        real_NA = inputs["rewards"].flatten(0, 1).isfinite()
        # An episode may have ended before its last day. Where one answer is possible, the mass alone is trained on.
        group_N = real_NA.any(1)
        real_NA = real_NA[group_N]
        log_probs_NA = log_probs_BDA.flatten(0, 1)[group_N]
        advantages_NA = inputs["advantages"].flatten(0, 1)[group_N].masked_fill(~real_NA, 0.0)
        mean_N1 = (log_probs_NA * real_NA).sum(1, keepdim=True) / real_NA.sum(1, keepdim=True)
        mass = mass_loss(log_probs_NA.masked_fill(~real_NA, -torch.inf))
        # An answer that does not exist has the mean log-probability and the mean reward, and so adds no loss.
        loss = self._loss.of_decisions(torch.where(real_NA, log_probs_NA, mean_N1), advantages_NA)
        other_tokens = -labelled_M.mean() if len(labelled_M) else labelled_M.sum()
        loss = loss + mass + self._loss.sft_weight * other_tokens
        self._log_policy(log_probs_NA.detach(), real_NA, inputs["rewards"].flatten(0, 1)[group_N])
        self.log_mean("decision_mass", (-mass).exp())
        self.log_mean("sft_loss", other_tokens)
        return loss / self.current_gradient_accumulation_steps

    def _log_policy(self, log_probs_NA: Tensor, real_NA: Tensor, rewards_NA: Tensor) -> None:
        """What the policy is expected to earn above the mean order of a day, and how sure it is."""
        chances_NA = log_probs_NA.masked_fill(~real_NA, -torch.inf).softmax(1)
        centred_NA = (rewards_NA - rewards_NA.nanmean(1, keepdim=True)).nan_to_num()
        self.log_mean("reward", (chances_NA * centred_NA).sum(1).mean())
        entropy_NA = -(chances_NA * chances_NA.clamp(min=1e-12).log())
        self.log_mean("decision_entropy", entropy_NA.sum(1).mean())
        self.log_mean("answers/HOLD", chances_NA[:, 0].mean())


def check_what_if(where: str, task: Task, model: ModelConfig) -> None:
    """Refuse a task of episodes that does not know what other answers would have earned, and conversations too long.

    Raises:
        RecipeError: this is the case.
    """
    if not isinstance(task, WhatIfTask):
        raise RecipeError(
            f"{where}.group: the task '{task.name}' has episodes but no what_if(), which says what other answers would "
            "have earned. Use group: sampled."
        )
    try:
        episodes = task.what_if(task.examples("train")[:1], [(0,)])
    except RecipeError as error:
        raise RecipeError(f"{where}.group: {error}") from error
    if found := preview(model, task, [message["content"] for one in episodes for message in one.messages]):
        check_room(where, [Row.of(found[0], one) for one in episodes], positions_of(found[1]))


def check_room(where: str, rows: Sequence[Row], positions: int | None) -> None:
    """Refuse conversations that exceed the model's context.

    Raises:
        RecipeError: this is the case.
    """
    longest = max(max(row.places) + 1 for row in rows)
    if positions is not None and longest > positions:
        raise RecipeError(
            f"{where}: a conversation has {longest:,} tokens, but the model has {positions:,} positions. Set "
            "task.question: day, or use fewer facts, days or stocks, or a model with more positions "
            "(model.tiny.positions)."
        )
