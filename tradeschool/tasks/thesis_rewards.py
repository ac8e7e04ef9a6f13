"""The reward components of the thesis task, and how those of the market and of the evidence are joined.

Each subject has a module: the text's structure (``thesis_structure.py``) and evidence (``thesis_evidence.py``), the
rating against the market (``rating_rewards.py``), and the account that follows it (``thesis_account.py``).
"""

from collections.abc import Mapping
from typing import Literal

from tradeschool.tasks.base import Rewards
from tradeschool.tasks.thesis_evidence import NO_EVIDENCE, Evidence, evidence
from tradeschool.tasks.thesis_structure import Form, structure
from tradeschool.text.citations import PromptIndex
from tradeschool.text.parse import RATINGS
from tradeschool.text.thesis import Thesis, side_of

RATED = ("profit", "risk", "decision", "outcome")
"""Components of the rating task."""
ACCOUNT = ("pnl", "risk_adjusted", "drawdown")
"""Components of the composite risk-aware reward."""
MARKET = (*RATED, *ACCOUNT)
TEXT = ("structure", "evidence", "verified", "agreement", "format")
"""Components that do not depend on the outcome."""
JOINT = "joint"
COMPONENTS = (*MARKET, *TEXT, JOINT)
Combine = Literal["sum", "gate", "product"]


def text_rewards(thesis: Thesis | None, form: Form, index: PromptIndex) -> Rewards:
    """The components of the text, whatever happened in the market.

    ``verified`` is the share of quotations that stand in the prompt, None without one. ``agreement`` is 1 where the
    conclusion takes the side of the decision, None where it takes none. ``format`` is 1 for a readable thesis.
    """
    found: Evidence = NO_EVIDENCE if thesis is None else evidence(thesis, form, index)
    return {
        "structure": structure(thesis, form, index),
        "evidence": found.score,
        "verified": found.verified / found.quotes if found.quotes else None,
        "agreement": None if thesis is None else agreement(thesis),
        "format": float(thesis is not None),
    }


def agreement(thesis: Thesis) -> float | None:
    """1 where conclusion and decision are on the same side, else 0; None where the conclusion takes no side."""
    side = side_of(thesis.conclusion)
    rating = RATINGS[thesis.decision]
    return None if side is None else float(side == (rating > 0) - (rating < 0))


def joined(market: float, evidence: float, how: Combine, threshold: float) -> float:
    """The market's reward joined with the evidence of its thesis, which is in [0, 1]. More evidence never costs.

    Args:
        market: weighted sum of the market's components.
        evidence: score of the evidence.
        how: ``gate`` pays a gain only where the evidence reaches the threshold. ``product`` pays its share of a gain
            and charges a loss the more, the less evidence there is: a plain product would make losses without evidence
            the cheaper ones. ``sum`` leaves the market's reward as it is.
        threshold: of ``gate``.
    """
    if how == "gate":
        return market if evidence >= threshold else min(market, 0.0)
    if how == "product":
        return market * evidence if market > 0 else market * (2 - evidence)
    return market


def joint_reward(
    rewards: Rewards, weights: Mapping[str, float], evidence: float, how: Combine, threshold: float
) -> float | None:
    """``joint``: the weighted market components, joined with the evidence; None where one with a weight is unknown."""
    known = {name: rewards[name] for name in MARKET if weights.get(name)}
    values = [weights[name] * value for name, value in known.items() if value is not None]
    return joined(sum(values), evidence, how, threshold) if len(values) == len(known) else None


def trained_weights(weights: Mapping[str, float], how: Combine) -> dict[str, float]:
    """The weight of every component in training: where rewards are joined, ``joint`` replaces those of the market."""
    full = {**dict.fromkeys(COMPONENTS, 0.0), **weights}
    return full if how == "sum" else {**full, **dict.fromkeys(MARKET, 0.0), JOINT: 1.0}
