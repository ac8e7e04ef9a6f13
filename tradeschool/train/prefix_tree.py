"""A faster GRPO step: what the answers of a group share is computed once.

The completions of a prompt are laid behind it in one row as a prefix tree. A token is computed once for all completions
that agree up to it; an attention mask lets every token see only its own past. Log-probabilities and gradients equal
those of separate rows. When the answers of a group state the same facts and differ in the decision, the row is hardly
longer than one answer, however large the group.

Shapes: B rows of a batch, P distinct prompts, L prompt tokens (padded left), G completions a prompt, C completion
tokens (padded right), M distinct completion prefixes a prompt, S = L - 1 + M.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessorList

from tradeschool.errors import RecipeError

_HIDDEN = torch.finfo(torch.float32).min


def check_supported(config: Any) -> None:
    """Refuse a model (by its transformers configuration) whose attention would ignore the tree's mask.

    Raises:
        RecipeError: a layer does not see its whole past.
    """
    text = config.get_text_config()
    other = set(getattr(text, "layer_types", None) or []) - {"full_attention"}
    if other:
        raise RecipeError(
            f"{text.model_type} has layers of {', '.join(sorted(other))}, which the shared prefix does not support. "
            "Set share_prefix: false in the stage."
        )


@dataclass(frozen=True)
class Packed:
    """A batch of completions laid out by prompt.

    Every node (a distinct completion prefix) takes the token before its last as input and has its last token as label.
    ``place_BC`` is the position in the row ``row_B`` of each completion token.
    """

    input_ids_PS: Tensor
    attention_mask_P1SS: Tensor
    position_ids_PS: Tensor
    labels_PS: Tensor
    row_B: Tensor
    place_BC: Tensor

    def completions(self, values_PS: Tensor) -> Tensor:
        """The values of the completions' tokens, in the batch's order: [B, C]."""
        return values_PS[self.row_B[:, None], self.place_BC]


def pack(input_ids_BS: Tensor, attention_mask_BS: Tensor, completion_length: int) -> Packed:
    """Lay out rows of prompt (left-padded) + completion (right-padded) by their common prefixes."""
    length = input_ids_BS.shape[1] - completion_length
    prompt_BL, prompt_mask_BL = input_ids_BS[:, :length], attention_mask_BS[:, :length]
    keyed_B2L = torch.cat([prompt_BL, prompt_mask_BL.to(prompt_BL.dtype)], dim=1)
    unique_P2L, row_B = torch.unique(keyed_B2L, dim=0, return_inverse=True)
    prompt_PL, prompt_mask_PL = unique_P2L[:, :length], unique_P2L[:, length:]
    slot_B = _slots(row_B)
    shape = (len(unique_P2L), int(slot_B.max()) + 1, completion_length)
    token_PGC, mask_PGC = prompt_PL.new_zeros(shape), prompt_PL.new_zeros(shape)
    token_PGC[row_B, slot_B] = input_ids_BS[:, length:]
    mask_PGC[row_B, slot_B] = attention_mask_BS[:, length:].to(prompt_PL.dtype)

    tree = _Tree.of(token_PGC, mask_PGC.bool())
    before_PGC = torch.cat([prompt_PL[:, -1, None, None].expand(*shape[:2], 1), token_PGC[:, :, :-1]], dim=2)
    start_P1 = prompt_mask_PL.sum(1, keepdim=True) - 1
    labels_PM = tree.nodes(token_PGC).masked_fill(~tree.real_PM, -100)
    positions_PL = (prompt_mask_PL.cumsum(1) - 1).clamp(min=0)
    return Packed(
        input_ids_PS=torch.cat([prompt_PL[:, :-1], tree.nodes(before_PGC)], dim=1),
        attention_mask_P1SS=_mask(prompt_mask_PL[:, :-1].bool(), tree),
        position_ids_PS=torch.cat([positions_PL[:, :-1], start_P1 + tree.depth_PM], dim=1),
        labels_PS=torch.cat([prompt_PL[:, :-1].clone().fill_(-100), labels_PM], dim=1),
        row_B=row_B,
        place_BC=length - 1 + tree.place_PGC[row_B, slot_B],
    )


def _slots(row_B: Tensor) -> Tensor:
    """How many earlier rows of the batch share the prompt of each."""
    order_B = torch.argsort(row_B, stable=True)
    sorted_B = row_B[order_B]
    starts_B = torch.searchsorted(sorted_B, sorted_B)
    slot_B = torch.empty_like(row_B)
    slot_B[order_B] = torch.arange(len(row_B), device=row_B.device) - starts_B
    return slot_B


@dataclass(frozen=True)
class _Tree:
    """The prefix tree of every prompt's completions. A node is named by its depth and its leader.

    ``leader_PGC`` is the first completion of the group with the same prefix, ``place_PGC`` that prefix's node.
    ``real_PM`` is False where a node is padding.
    """

    leader_PGC: Tensor
    place_PGC: Tensor
    depth_PM: Tensor
    owner_PM: Tensor
    real_PM: Tensor

    @classmethod
    def of(cls, token_PGC: Tensor, mask_PGC: Tensor) -> "_Tree":
        count, groups, length = token_PGC.shape
        visible_PGC = token_PGC.masked_fill(~mask_PGC, -1)
        same_PGGC = (visible_PGC[:, :, None] == visible_PGC[:, None]).cumprod(dim=3).bool()
        first_G = torch.arange(groups, device=token_PGC.device)
        leader_PGC = torch.where(same_PGGC, first_G[:, None], groups).amin(dim=2)
        is_node_PGC = (leader_PGC == first_G[:, None]) & mask_PGC
        flat_PN = is_node_PGC.transpose(1, 2).flatten(1)  # depth first, so that parents come before children
        width = max(int(flat_PN.sum(1).max()), 1)
        chosen_PM = torch.argsort(~flat_PN, dim=1, stable=True)[:, :width]
        rank_PCG = (flat_PN.cumsum(1) - 1).clamp(min=0).view(count, length, groups)
        return cls(
            leader_PGC=leader_PGC,
            place_PGC=rank_PCG.transpose(1, 2).gather(1, leader_PGC),
            depth_PM=chosen_PM // groups,
            owner_PM=chosen_PM % groups,
            real_PM=flat_PN.gather(1, chosen_PM),
        )

    def nodes(self, values_PGC: Tensor) -> Tensor:
        """The values at the nodes: [P, M]."""
        rows_P1 = torch.arange(len(values_PGC), device=values_PGC.device)[:, None]
        return values_PGC[rows_P1, self.owner_PM, self.depth_PM]

    def ancestry(self) -> Tensor:
        """True where the second node lies on the path to the first, itself included: [P, M, M]."""
        rows_P1 = torch.arange(len(self.owner_PM), device=self.owner_PM.device)[:, None]
        chain_PMC = self.leader_PGC[rows_P1, self.owner_PM]
        width = self.owner_PM.shape[1]
        depth_PMM = self.depth_PM[:, None, :].expand(-1, width, -1)
        on_path_PMM = chain_PMC.gather(2, depth_PMM) == self.owner_PM[:, None, :]
        return on_path_PMM & (depth_PMM <= self.depth_PM[:, :, None]) & self.real_PM[:, None, :]


def _mask(prompt_known_PK: Tensor, tree: _Tree) -> Tensor:
    """Additive 4-D mask over prompt and nodes; a position with nothing to see sees itself."""
    count, shared = prompt_known_PK.shape
    total = shared + tree.depth_PM.shape[1]
    seen_PSS = torch.zeros(count, total, total, dtype=torch.bool, device=prompt_known_PK.device)
    seen_PSS[:, :, :shared] = prompt_known_PK[:, None, :]
    seen_PSS[:, :shared, :shared] &= torch.ones(shared, shared, dtype=torch.bool, device=seen_PSS.device).tril()
    seen_PSS[:, shared:, shared:] = tree.ancestry()
    seen_PSS |= torch.eye(total, dtype=torch.bool, device=seen_PSS.device)
    return torch.zeros(count, 1, total, total, device=seen_PSS.device).masked_fill(~seen_PSS[:, None], _HIDDEN)


def log_probs(model: Any, packed: Packed) -> tuple[Tensor, Tensor]:
    """Log-probability and entropy of every completion token, [B, C] each, by TRL's fused head of the model."""
    outputs = model(
        input_ids=packed.input_ids_PS,
        attention_mask=packed.attention_mask_P1SS.to(_dtype(model)),
        position_ids=packed.position_ids_PS,
        shift_labels=packed.labels_PS,
        fused_lm_head=True,
    )
    logps_BC = packed.completions(outputs.log_probs)
    entropies_BC = packed.completions(outputs.entropy) if outputs.entropy is not None else torch.zeros_like(logps_BC)
    return logps_BC, entropies_BC


def hidden_states(model: Any, packed: Packed) -> Tensor:
    """The last hidden state before every completion token, [B, C, H]."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    outputs = base.get_decoder()(
        input_ids=packed.input_ids_PS,
        attention_mask=packed.attention_mask_P1SS.to(_dtype(model)),
        position_ids=packed.position_ids_PS,
    )
    return packed.completions(outputs.last_hidden_state)


@torch.no_grad()  # type: ignore[untyped-decorator]
def sample(
    model: Any,
    prompt_ids_PL: Tensor,
    prompt_mask_PL: Tensor,
    groups: int,
    *,
    max_new_tokens: int,
    ends: list[int],
    warp: LogitsProcessorList | None,
) -> Tensor:
    """G completions for each prompt, [P, G, C]. A prefix that several share is computed once.

    Args:
        model: a causal language model.
        prompt_ids_PL: tokens, padded left.
        prompt_mask_PL: 0 where a token is padding.
        groups: G.
        max_new_tokens: C.
        ends: after one of these tokens a completion is filled with ``ends[0]``.
        warp: shapes the distribution (temperature, min-p, ...); None takes the most likely token.
    """
    position_ids_PL = (prompt_mask_PL.cumsum(1) - 1).clamp(min=0)
    start_P1 = prompt_mask_PL.sum(1, keepdim=True)
    output = model(
        input_ids=prompt_ids_PL,
        attention_mask=prompt_mask_PL,
        position_ids=position_ids_PL,
        use_cache=True,
        logits_to_keep=1,
    )
    place_PG = torch.zeros(len(prompt_ids_PL), groups, dtype=torch.long, device=prompt_ids_PL.device)
    paths: list[tuple[Tensor, int]] = []  # per step: each completion's node, and the number of nodes
    tokens: list[Tensor] = []
    ended_PG = torch.zeros(len(prompt_ids_PL), groups, dtype=torch.bool, device=prompt_ids_PL.device)
    for step in range(max_new_tokens):
        token_PG = draw(output.logits, place_PG, warp).masked_fill(ended_PG, ends[0])
        tokens.append(token_PG)
        ended_PG = ended_PG | torch.isin(token_PG, torch.tensor(ends, device=token_PG.device))
        if step == max_new_tokens - 1 or bool(ended_PG.all()):
            break
        place_PG, owner_PW = _branch(place_PG, token_PG, ended_PG)
        paths.append((place_PG, owner_PW.shape[1]))
        output = model(
            input_ids=token_PG.gather(1, owner_PW),
            attention_mask=_path_mask(prompt_mask_PL.bool(), paths, owner_PW).to(_dtype(model)),
            position_ids=(start_P1 + step).expand(-1, owner_PW.shape[1]),
            past_key_values=output.past_key_values,
            use_cache=True,
        )
    return torch.stack(tokens, dim=2)


def _branch(place_PG: Tensor, token_PG: Tensor, ended_PG: Tensor) -> tuple[Tensor, Tensor]:
    """The next step's node of every completion, and for every node a completion that passes through it."""
    groups = place_PG.shape[1]
    key_PG = (place_PG * (int(token_PG.max()) + 1) + token_PG).masked_fill(ended_PG, -1)
    same_PGG = key_PG[:, :, None] == key_PG[:, None, :]
    first_G = torch.arange(groups, device=place_PG.device)
    leader_PG = torch.where(same_PGG, first_G, groups).amin(dim=2)
    leads_PG = leader_PG == first_G
    width = int(leads_PG.sum(1).max())
    owner_PW = torch.argsort(~leads_PG, dim=1, stable=True)[:, :width]
    return (leads_PG.cumsum(1) - 1).gather(1, leader_PG), owner_PW


def _path_mask(prompt_known_PL: Tensor, paths: list[tuple[Tensor, int]], owner_PW: Tensor) -> Tensor:
    """Additive mask [P, 1, W, K] over the prompt and all nodes so far: a node sees its own path."""
    count, width = owner_PW.shape
    seen = [prompt_known_PL[:, None, :].expand(-1, width, -1)]
    for place_PG, nodes in paths:
        seen.append(place_PG.gather(1, owner_PW)[:, :, None] == torch.arange(nodes, device=owner_PW.device))
    seen_PWK = torch.cat(seen, dim=2)
    return torch.zeros(count, 1, *seen_PWK.shape[1:], device=owner_PW.device).masked_fill(~seen_PWK[:, None], _HIDDEN)


def draw(logits_PWV: Tensor, place_PG: Tensor, warp: LogitsProcessorList | None) -> Tensor:
    if warp is None:
        return logits_PWV.argmax(-1).gather(1, place_PG)
    flat_NV = logits_PWV.float().flatten(0, 1)
    # The warpers look at scores alone; the token ids are part of their signature.
    no_ids_N0 = torch.empty(len(flat_NV), 0, dtype=torch.long, device=flat_NV.device)
    scores_PWV = warp(no_ids_N0, flat_NV).view_as(logits_PWV)
    rows_P1 = torch.arange(len(place_PG), device=place_PG.device)[:, None]
    chances_PGV = torch.softmax(scores_PWV, dim=-1)[rows_P1, place_PG]
    return torch.multinomial(chances_PGV.flatten(0, 1), 1).view(place_PG.shape)


def _dtype(model: Any) -> torch.dtype:
    dtype: torch.dtype = next(model.parameters()).dtype
    return dtype
