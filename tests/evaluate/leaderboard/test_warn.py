"""What a leaderboard's reader is warned of, and what of not."""

import pytest
from made_boards import DAYS, EPISODES, board, model, row, rules, talk

from tradeschool.evaluate.leaderboard.headline import run_headline
from tradeschool.evaluate.leaderboard.ladder import Board
from tradeschool.evaluate.leaderboard.standing import difference
from tradeschool.evaluate.leaderboard.talks import _talk
from tradeschool.evaluate.leaderboard.warn import board_warnings, episode_training_warnings
from tradeschool.trace import Trace


def warned(found: Board, **traces: list[Trace]) -> str:
    talks = {name: [_talk(name, trace, "here") for trace in said] for name, said in traces.items()}
    return "\n".join(board_warnings(found, talks))


TRADES = ["BUY 1", "HOLD", "SELL 1", "HOLD"]


def test_a_sound_board_has_no_warning() -> None:
    found = board(*rules(), model("sft", -0.1), model("grpo", -0.05))
    assert warned(found, grpo=[talk("grpo", 0, 0.5, *TRADES)], sft=[talk("sft", 0, 0.5, *TRADES)]) == ""


@pytest.mark.parametrize(
    ("blocks", "told"), [(1, "too few dates for intervals"), (9, "begin in 9 blocks of 8 days"), (10, "")]
)
def test_few_blocks_of_dates_are_told(blocks: int, told: str) -> None:
    starts = [2 * DAYS * (n % blocks) for n in range(40)]
    text = warned(board(model("sft", -0.1, starts=starts), model("grpo", starts=starts)))
    assert told in text if told else not text


def test_a_model_without_room_is_named_with_the_day() -> None:
    said = [talk("grpo", 0, 0.5, *TRADES), talk("grpo", 1, 0.5, *TRADES[:2]), talk("grpo", 2, 0.5, *TRADES[:3])]
    text = warned(board(model("grpo", -0.1)), grpo=said)
    assert "grpo ran out of room in 66.7% of its episodes, at the earliest after 2 of 4 days" in text


def test_a_bankruptcy_is_no_lack_of_room() -> None:
    text = warned(board(model("grpo", -0.1, bankrupt=1)), grpo=[talk("grpo", 0, 0.1, "BUY 1", stop="bankrupt")])
    assert "room" not in text
    assert f"grpo went bankrupt in 1 of {EPISODES} episodes." in text


def test_what_was_counted_in_play_is_told_without_conversations() -> None:
    text = warned(board(model("grpo", -0.1, figures={"unread": 0.25, "out_of_room": 0.5})))
    assert "ran out of room in 50.0%" in text
    assert "grpo: 25.0% of its answers could not be read" in text


def test_who_never_trades_is_named() -> None:
    found = board(model("grpo", -0.1))
    holds = [talk("grpo", n, 0.5, *["<think>no signal</think>\nHOLD"] * DAYS) for n in range(9)]
    assert "grpo traded nothing in 100% of its episodes" in warned(found, grpo=holds)
    half = [*holds[:4], *(talk("grpo", 10 + n, 0.5, *TRADES) for n in range(5))]
    assert "traded nothing" not in warned(found, grpo=half)
    idle = row("ppo", -0.1, settings={"agent": "zip"}, returns=[0.0] * EPISODES)
    assert "ppo traded nothing in 100% of its episodes" in warned(board(idle))


def test_who_only_buys_and_holds_is_named() -> None:
    market = rules()[0]
    assert "In 100% of its episodes grpo did just what buy and hold does" in warned(
        board(market, model("grpo", grades=market.grades))
    )
    assert "did just what" not in warned(board(market, model("grpo", 0.03)))


def test_refused_orders_are_told_of_those_who_learned_alone() -> None:
    refused = [2] * EPISODES
    text = warned(board(*rules(), row("random", -0.1, refused=refused), model("grpo", -0.1, refused=refused)))
    assert "grpo: 2.0 orders an episode of 4 days were refused" in text
    assert "random" not in text


def test_a_claim_that_stands_alone_but_not_among_many_is_named() -> None:
    # 60 differences with a mean of .0112 and a deviation of .04: t is 2.2, shown alone, and not as one of several.
    sft, thin = model("sft"), [0.0512 if n % 2 else -0.0288 for n in range(EPISODES)]
    grpo = model("grpo", grades=[grade + more for grade, more in zip(sft.grades, thin, strict=True)])
    assert difference(grpo, sft).verdict == "above"
    found = board(*rules(), sft, grpo)
    text = warned(found)
    assert "3 differences are looked at here" in text
    assert text.endswith("nothing is shown by: grpo less sft.")
    assert run_headline(found)[0].startswith("Not shown that GRPO changed anything.")


def test_without_training_here_all_agents_are_counted() -> None:
    thin = [0.575 + (0.0512 if n % 2 else -0.0288) for n in range(EPISODES)]
    lucky = row("lucky", grades=thin)
    found = board(*rules(a=0.0, b=0.0, c=0.0), lucky, stages=())
    assert "4 differences are looked at here" in warned(found)


def test_holding_on_most_days_is_a_collapse_only_where_nothing_is_traded() -> None:
    def told(share: float) -> list[str]:
        return episode_training_warnings({"grpo": [{"step": 1, "reward": 1.0, "answers/HOLD": share}]}, {}, 20)

    assert told(0.95) == []
    assert told(0.99) == ["grpo: 99% of the answers were HOLD: the policy has collapsed to one answer."]
    other = episode_training_warnings({"grpo": [{"step": 1, "reward": 1.0, "answers/BUY": 0.95}]}, {}, 20)
    assert "95% of the answers were BUY" in other[0]
