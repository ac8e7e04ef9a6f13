"""Turn-level advantages: what an answer is credited with, whom it is compared with, and what is logged."""

from typing import Any

import numpy as np
import pytest

from tradeschool.chat import Episode, StepResult, Turn
from tradeschool.market.panel import Floats
from tradeschool.train.rewards import States, logged_shares, rewards_to_go, turn_advantages

COMPONENTS = ("profit", "risk", "grade", "valid_order")


def states(held: list[list[int | None]]) -> States:
    """Of episodes by how many stocks each holds, turn by turn; None where it is over."""
    return States(np.array([[one is not None for one in held_B] for held_B in held]), held)


def advantages(
    held: list[list[int | None]] | None = None,
    *,
    group: int,
    discount: float,
    weights: dict[str, float] | None = None,
    scale: str = "batch",
    **rewards: Any,
) -> Floats:
    found = {name: np.array(values, float) for name, values in rewards.items()}
    turns, count = next(iter(found.values())).shape
    known = states(held or [[0] * count] * turns)
    weights = dict.fromkeys(COMPONENTS, 0.0) | (weights or {"profit": 1.0})
    discounts = dict.fromkeys(COMPONENTS, discount) | {"grade": 1.0}
    return turn_advantages(found, known, weights, discounts, group, scale)


class Names:
    """All that the log needs of a task."""

    action_names = ("BUY", "SELL", "HOLD")

    def action_name(self, action: str) -> str:
        return action


TASK: Any = Names()
ENV: Any = None


def episodes(*answers: list[str | None]) -> list[Episode]:
    """Episodes with these answers: "" cannot be read, None was not given."""
    made = []
    for own in answers:
        turns = [Turn(text, StepResult([], info={"action": text or None, "state": 0})) for text in own]
        made.append(Episode(None, ENV, [], turns))
    return made


def test_an_advantage_is_the_later_rewards_compared_within_the_group() -> None:
    # Two groups of two; in the second nothing differs.
    found_DB = advantages(profit=[[1, 0, 5, 5], [0, 0, 7, 7], [0, 4, 9, 9]], group=2, discount=1.0)
    assert found_DB[:, 2:] == pytest.approx(np.zeros((3, 2)))
    # To go: 1, 0, 0 against 4, 4, 4.
    assert found_DB[:, 0] / found_DB[0, 0] == pytest.approx([1, 4 / 3, 4 / 3])
    assert found_DB[:, 0] == pytest.approx(-found_DB[:, 1])
    assert (found_DB[:, 0] < 0).all()
    assert found_DB.std() == pytest.approx(1, abs=1e-3)


def test_earlier_rewards_do_not_change_an_advantage() -> None:
    found_DB = advantages(profit=[[3, 0], [0, 0]], group=2, discount=0.9)
    assert found_DB[0, 0] > 0
    assert found_DB[1] == pytest.approx([0, 0])


def test_an_answer_is_compared_with_those_from_the_same_state() -> None:
    # The last two hold the stock, which rises: that they bought it is not today's doing.
    found_DB = advantages([[0, 0, 1, 1]], profit=[[0, 1, 5, 7]], group=4, discount=0.0)
    assert found_DB[0, 1] == pytest.approx(-found_DB[0, 0])
    assert found_DB[0, 3] == pytest.approx(2 * found_DB[0, 1])
    assert found_DB[0, 2] < 0


def test_an_answer_alone_in_its_state_is_compared_with_its_group() -> None:
    found_DB = advantages([[0, 0, 3, 0]], profit=[[0, 1, 9, 2]], group=4, discount=0.0, scale="none")
    assert found_DB[0].tolist() == pytest.approx([-1, 0, 6, 1])


def test_an_ended_episode_gets_zero_and_is_not_compared_with() -> None:
    found_DB = advantages([[1, None, 1, 1]], profit=[[1, 50, 2, 3]], group=4, discount=0.0, scale="none")
    assert found_DB[0].tolist() == pytest.approx([-1, 0, 0, 1])


def test_advantages_are_scaled_as_trl_does() -> None:
    calm_and_wild: Any = {"profit": [[0, 2, 0, 20]], "group": 2, "discount": 0.0}
    assert advantages(**calm_and_wild, scale="none")[0].tolist() == pytest.approx([-1, 1, -10, 10])
    assert advantages(**calm_and_wild, scale="group")[0].tolist() == pytest.approx([-1, 1, -1, 1], abs=1e-3)
    batch = advantages(**calm_and_wild, scale="batch")[0]
    assert batch.std() == pytest.approx(1, abs=1e-3)
    assert batch[3] == pytest.approx(10 * batch[1])


def test_with_a_discount_of_zero_only_the_next_reward_counts() -> None:
    found_DB = advantages(profit=[[1, 0], [0, 9]], group=2, discount=0.0)
    assert found_DB[0, 0] > 0 > found_DB[1, 0]


def test_components_count_by_their_weights() -> None:
    weights = {"profit": 1.0, "risk": 0.5}
    rewards: Any = {"profit": [[1, 0]], "risk": [[-2, 0]], "grade": [[9, 0]], "valid_order": [[5, 0]]}
    assert advantages(**rewards, weights=weights, group=2, discount=0.5) == pytest.approx(np.zeros((1, 2)))


def test_an_undiscounted_component_counts_equally_on_all_days() -> None:
    found_DB = advantages(grade=[[0, 0], [0, 0], [0.7, 0.5]], weights={"grade": 2.0}, group=2, discount=0.1)
    assert found_DB[0] == pytest.approx(found_DB[2])
    assert found_DB[0, 0] > 0


def test_rewards_to_go_are_discounted_by_turn() -> None:
    reward_DB = np.array([[1.0, 0.0], [2.0, 0.0], [4.0, 8.0]])
    assert rewards_to_go(reward_DB, 0.5) == pytest.approx(np.array([[3.0, 2.0], [4.0, 4.0], [4.0, 8.0]]))
    assert rewards_to_go(reward_DB, 1.0)[0] == pytest.approx(reward_DB.sum(axis=0))
    assert rewards_to_go(reward_DB, 0.0) == pytest.approx(reward_DB)


# what is logged ----------------------------------------------------------------------------------


def test_answers_alone_in_their_state_and_those_without_advantage_are_counted() -> None:
    # Two groups of four. Turn 0: one alone of the first four; in the second group nothing differs. Turn 1: the last
    # three are over, so the group of the fifth is itself.
    held: list[list[int | None]] = [[0, 0, 3, 0, 1, 1, 1, 1], [1, 1, 1, 1, 0, None, None, None]]
    profit = [[0, 1, 9, 2, 0.1, 0.1, 0.1, 0.1], [1, 2, 3, 4, 5, 0, 0, 0]]
    once, twice = list[str | None](["HOLD"]), list[str | None](["HOLD"] * 2)
    played = episodes(twice, twice, twice, twice, twice, once, once, once)
    assert states(held).alone(4).tolist() == [
        [False, False, True, False, False, False, False, False],
        [False, False, False, False, True, False, False, False],
    ]
    found_DB = advantages(held, profit=profit, group=4, discount=0.0)
    shares = logged_shares(played, TASK, states(held), 4, found_DB)
    assert shares["advantage/alone"] == pytest.approx(2 / 13)
    # The four that are equal, the one whose group is itself, and one more: the mean of 0, 1, 2 is 1.
    assert shares["advantage/zero"] == pytest.approx(6 / 13)
    assert not {"advantage/alone", "advantage/zero"} & set(logged_shares(played, TASK, states(held), 4, None))


def test_an_ended_episode_is_not_counted_as_alone() -> None:
    assert states([[None, 0, 1, 1]]).alone(4).tolist() == [[False, True, False, False]]


def test_parse_errors_are_a_share_of_the_given_answers() -> None:
    played = episodes(["BUY", "HOLD"], ["", ""], ["SELL", None], [None, None])
    assert logged_shares(played, TASK, States.of(played), 4, None) == {
        "parse_errors": 2 / 5, "answers/BUY": 1 / 5, "answers/SELL": 1 / 5, "answers/HOLD": 1 / 5, "out_of_room": 1 / 2,
    }  # fmt: skip


def test_states_come_from_the_environments() -> None:
    played = episodes(["BUY", "HOLD"], ["SELL"])
    found = States.of(played)
    assert found.live_DB.tolist() == [[True, True], [True, False]]
    assert found.keys[0] == [0, 0]
