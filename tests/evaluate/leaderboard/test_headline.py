"""What is said first about a leaderboard: as much as its paired differences show, and no more."""

import pytest
from made_boards import EPISODES, TWO_STEPS, board, model, row, rules

from tradeschool.evaluate.leaderboard.headline import board_headline, run_headline


@pytest.mark.parametrize(
    ("sft", "grpo", "said"),
    [
        (-0.05, 0.0, "GRPO beat SFT."),
        (0.0, -0.05, "GRPO did worse than SFT."),
        (0.0, 0.0, "GRPO changed nothing: the same grade in every episode as SFT."),
    ],
)
def test_the_first_sentence_says_whether_grpo_beat_sft(sft: float, grpo: float, said: str) -> None:
    first = run_headline(board(*rules(), model("untrained", -0.1), model("sft", sft), model("grpo", grpo)))[0]
    assert first.startswith(said)
    assert f"Over the same {EPISODES} episodes" in first
    assert f"{grpo - sft:+.3f} [" in first


def test_a_difference_whose_interval_holds_zero_is_no_win() -> None:
    grpo = model("grpo", 0.001)
    unlike = [grade + (0.3 if n % 3 else -0.6) for n, grade in enumerate(grpo.grades)]
    lines = run_headline(board(*rules(), model("sft"), model("grpo", grades=unlike)))
    assert lines[0].startswith("Not shown that GRPO changed anything.")
    assert "beat" not in lines[0]


def test_one_block_of_dates_shows_nothing() -> None:
    starts = [0, 1, 2]
    lines = run_headline(board(model("sft", starts=starts), model("grpo", 0.2, starts=starts)))
    assert lines[0].startswith("Too few dates to say whether GRPO beat SFT.")
    assert "[" not in lines[0]


def test_grpo_is_held_against_the_model_that_it_began_from() -> None:
    stages = (*TWO_STEPS[:1], {"stage": "grpo", "name": "grpo", "model": "base"})
    rows = (model("untrained", -0.2), model("sft"), model("grpo", -0.1))
    first = run_headline(board(*rows, stages=stages))[0]
    assert first.startswith("GRPO beat the untrained model.")
    assert "that of untrained 0.375" in first


def test_the_page_does_not_say_two_things_of_one_pair() -> None:
    # With p = .034 grpo is below buy and hold among the differences of the models, and not among those of all rows.
    thin = [0.575 - (0.0512 if n % 2 else -0.0288) for n in range(EPISODES)]
    found = board(*rules(a=-0.0001, b=-0.0001), model("sft", -0.3), model("grpo", grades=thin))
    assert found.best
    assert found.best.agent == "buy and hold"
    assert next(one.verdict for one in found.compared if (one.first, one.second) == ("grpo", "buy and hold")) == (
        next(one.verdict for one in found.found if one.row.agent == "grpo")
    )
    assert any("grpo is not shown to be better or worse than buy and hold" in line for line in run_headline(found))


def test_the_steps_before_it_follow() -> None:
    lines = run_headline(board(model("untrained", -0.2), model("sft", -0.1), model("grpo")))
    assert lines[1] == "SFT (sft) raised the grade of the untrained model: +0.100 [+0.100, +0.100] in grade."


def test_buy_and_hold_and_the_best_rule_are_named() -> None:
    lines = run_headline(board(*rules(macd=0.1, rsi=0.05), model("sft"), model("grpo", 0.07)))
    assert any(line.startswith("grpo is better than buy and hold: +0.070") for line in lines)
    assert any(
        line.startswith(
            "The best of the 3 rules on these episodes was macd, grade 0.675 here; grpo is worse than it: -0.0"
        )
        for line in lines
    )
    lines = run_headline(board(*rules(rsi=-0.05), model("sft"), model("grpo", -0.07)))
    assert any(line.startswith("grpo is worse than buy and hold") for line in lines)
    assert "The best of the 2 rules on these episodes was buy and hold." in lines


def test_money_is_told_in_percentage_points_of_the_same_episodes() -> None:
    lines = run_headline(board(*rules(), model("grpo", 0.1, spread=0.0)))
    assert lines[-1] == (
        "In money: an episode of 4 days returned +2.00% on average after costs, with buy and hold +1.00%: "
        "+1.00 [+1.00, +1.00] percentage points, shown."
    )


def test_without_grpo_the_last_training_leads() -> None:
    lines = run_headline(board(*rules(), model("untrained", -0.1), model("sft"), stages=TWO_STEPS[:1]))
    assert lines[0].startswith("SFT beat the untrained model.")
    assert not any("GRPO" in line for line in lines)


def test_one_model_alone_is_held_against_the_rules() -> None:
    lines = run_headline(board(*rules(macd=0.1), model("untrained", -0.1), stages=()))
    assert lines[0].startswith("The untrained model is worse than buy and hold: -0.100")
    assert not any("SFT" in line or "GRPO" in line for line in lines)


def test_without_a_language_model_the_agents_on_numbers_are_told_of() -> None:
    lines = run_headline(board(*rules(), row("ppo", -0.1, settings={"agent": "zip"}), stages=()))
    assert lines[0].startswith("No language model played")
    assert any(line.startswith("ppo is worse than buy and hold") for line in lines)


def test_a_board_says_who_is_shown_to_be_better_and_nobody_else() -> None:
    lines = board_headline(board(*rules(macd=0.1, rsi=-0.1), stages=()))
    assert lines[0] == "Shown to be better than buy and hold: macd."
    assert lines[1].startswith("The highest mean grade is macd's, 0.675: +0.100 [")
    lines = board_headline(board(*rules(rsi=-0.1), stages=()))
    assert lines == ["None of 1 agents is shown to be better than buy and hold."]
