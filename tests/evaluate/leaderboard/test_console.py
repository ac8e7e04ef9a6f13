"""What a leaderboard says: no more than its paired differences show, what to be careful of, and in few lines."""

import pytest
from made_boards import DAYS, EPISODES, TWO_STEPS, board, model, result, rules
from rich.console import Console

from tradeschool.evaluate.console import print_summary
from tradeschool.evaluate.leaderboard.console import (
    board_headline,
    board_warnings,
    episode_training_warnings,
    print_board,
    run_headline,
)
from tradeschool.evaluate.leaderboard.ranking import Leaderboard, difference, verdict_of

# the headline


@pytest.mark.parametrize(
    ("sft", "grpo", "text"),
    [
        (-0.05, 0.0, "grpo beat sft:"),
        (0.0, -0.05, "grpo did worse than sft:"),
        (0.0, 0.0, "grpo has the grade of sft in every episode"),
    ],
)
def test_the_first_sentence_says_whether_grpo_beat_sft(sft: float, grpo: float, text: str) -> None:
    first = run_headline(board(*rules(), model("base model (tiny)", -0.1), model("sft", sft), model("grpo", grpo)))[0]
    assert first.startswith(text)
    assert f"{grpo - sft:+.3f} [" in first


def test_a_difference_whose_interval_holds_zero_is_not_a_win() -> None:
    grpo = model("grpo", 0.001)
    unlike = [grade + (0.3 if n % 3 else -0.6) for n, grade in enumerate(grpo.grades)]
    first = run_headline(board(*rules(), model("sft"), model("grpo", grades=unlike)))[0]
    assert first.startswith("grpo is not shown to be better or worse than sft")
    assert "beat" not in first


def test_one_block_of_dates_shows_nothing() -> None:
    starts = [0, 1, 2]
    first = run_headline(board(model("sft", starts=starts), model("grpo", 0.2, starts=starts)))[0]
    assert "on so few dates" in first
    assert "[" not in first


@pytest.mark.parametrize("blocks", [1, 2, 4, 5])
def test_two_blocks_of_dates_show_nothing_and_have_no_intervals(blocks: int) -> None:
    # 40 episodes of 4 days, which begin on every day of that many blocks of 8 days.
    starts = [n % (2 * DAYS * blocks) for n in range(40)]
    grades = [1.0 if n % 2 else 0.9 for n in range(40)]
    gaining = model("grpo", grades=grades, starts=starts)
    found = board(result("buy and hold", spread=0.0, starts=starts), model("sft", -0.2, starts=starts), gaining)
    text = " ".join([*run_headline(found), *board_headline(found)])
    verdicts = {row.policy: row.verdict for row in found.rows}
    if blocks < 5:
        assert "[" not in text
        assert "beat" not in text
        assert "No agent is shown to be better" in text
        assert verdicts == {"buy and hold": "reference", "sft": "too few dates", "grpo": "too few dates"}
        assert "At least 5 blocks of 8 days" in board_warnings(found)[0]
    else:
        assert "grpo beat buy and hold" in text
        assert verdicts["grpo"] == "better"


def test_intervals_of_grades_and_their_differences_stay_inside_their_bounds() -> None:
    starts = [2 * DAYS * n for n in range(6)]
    wild = model("grpo", grades=[0.0, 1.0, 1.0, 0.0, 1.0, 1.0], starts=starts)
    low = result("buy and hold", grades=[1.0, 0.0, 0.0, 0.5, 0.0, 0.0], starts=starts)
    (one,) = (row for row in board(low, wild).rows if row.policy == "grpo")
    raw = wild.estimate(wild.grades).interval()
    assert raw.high > 1
    grade, (gap,) = one.metrics["grade"], one.differences
    assert 0 < grade.low == raw.low < grade.value
    assert grade.high == 1
    assert -1 <= gap.interval.low < gap.interval.high == 1


def test_grpo_is_compared_with_the_model_it_was_trained_from() -> None:
    stages = (*TWO_STEPS[:1], {"stage": "grpo", "name": "grpo", "model": "base"})
    results = (model("base model (tiny)", -0.2), model("sft"), model("grpo", -0.1))
    first = run_headline(board(*results, stages=stages))[0]
    assert first.startswith("grpo beat base model (tiny): grade 0.475 against 0.375")


def test_a_pair_has_one_verdict_on_the_page() -> None:
    # With p = .034 grpo is worse than buy and hold among the differences of the models, and not among all rows.
    thin = [0.575 - (0.0512 if n % 2 else -0.0288) for n in range(EPISODES)]
    found = board(*rules(a=-0.0001, b=-0.0001), model("sft", -0.3), model("grpo", grades=thin))
    assert found.best_rule
    assert found.best_rule.agent == "buy and hold"
    (pair,) = (one for one in found.compared if (one.policy, one.against) == ("grpo", "buy and hold"))
    assert verdict_of(pair) == next(row.verdict for row in found.rows if row.policy == "grpo") == "not shown"
    assert any("not shown to be better or worse than buy and hold" in line for line in run_headline(found))


def test_earlier_steps_follow() -> None:
    lines = run_headline(board(model("base model (tiny)", -0.2), model("sft", -0.1), model("grpo")))
    assert lines[1].startswith("sft beat base model (tiny)")
    assert "+0.100 [+0.100, +0.100]" in lines[1]


def test_buy_and_hold_and_the_best_rule_are_named() -> None:
    lines = run_headline(board(*rules(macd=0.1, rsi=0.05), model("sft"), model("grpo", 0.07)))
    assert any("grpo beat buy and hold" in line and "+0.070" in line for line in lines)
    assert any("grpo did worse than macd: grade 0.645 against 0.675" in line for line in lines)
    assert "The best rule on these episodes was macd." in lines
    lines = run_headline(board(*rules(rsi=-0.05), model("sft"), model("grpo", -0.07)))
    assert any("worse than buy and hold" in line for line in lines)
    assert not any("best rule" in line for line in lines)


def test_returns_are_in_percentage_points_of_the_same_episodes() -> None:
    last = run_headline(board(*rules(), model("grpo", 0.1, spread=0.0)))[-1]
    for part in ("4 days", "+2.00%", "+1.00%", "+1.00 [+1.00, +1.00] percentage points."):
        assert part in last


def test_one_model_alone_is_compared_with_the_rules() -> None:
    lines = run_headline(board(*rules(macd=0.1), model("base model (tiny)", -0.1), stages=()))
    assert lines[0].startswith("base model (tiny) did worse than buy and hold")
    assert "-0.100" in lines[0]


def test_without_a_language_model_the_numeric_agents_lead() -> None:
    lines = run_headline(board(*rules(), result("ppo", -0.1, identity={"agent": "zip"}), stages=()))
    assert lines[0].startswith("No language model")
    assert any(line.startswith("ppo did worse than buy and hold") for line in lines)


def test_agents_shown_to_be_better_are_named_and_no_others() -> None:
    lines = board_headline(board(*rules(macd=0.1, rsi=-0.1), stages=()))
    assert lines[0].endswith("better than buy and hold: macd.")
    assert "0.675 against 0.575" in lines[1]
    lines = board_headline(board(*rules(rsi=-0.1), stages=()))
    assert lines == ["No agent is shown to be better than buy and hold."]


# warnings


def warned(found: Leaderboard) -> str:
    return "\n".join(board_warnings(found))


def test_a_sound_leaderboard_has_no_warning() -> None:
    assert warned(board(*rules(), model("sft", -0.1), model("grpo", -0.05))) == ""


@pytest.mark.parametrize(("blocks", "text"), [(1, "too few dates"), (9, "9 blocks of 8 days"), (10, "")])
def test_few_blocks_of_dates_are_reported(blocks: int, text: str) -> None:
    starts = [2 * DAYS * (n % blocks) for n in range(40)]
    found = warned(board(model("sft", -0.1, starts=starts), model("grpo", starts=starts)))
    assert text in found if text else not found


def test_unusable_answers_are_reported() -> None:
    text = warned(board(model("grpo", -0.1, figures={"unread": 0.25, "out_of_room": 0.5})))
    assert "context length in 50.0%" in text
    assert "25.0% of its answers could not be read" in text


def test_an_agent_that_never_trades_is_named() -> None:
    idle = result("ppo", -0.1, identity={"agent": "zip"}, returns=[0.0] * EPISODES)
    assert "ppo traded nothing in 100%" in warned(board(idle))
    half = result("ppo", -0.1, identity={"agent": "zip"}, returns=[0.0, 0.1] * (EPISODES // 2))
    assert "traded nothing" not in warned(board(half))


def test_an_agent_that_only_buys_and_holds_is_named() -> None:
    market = rules()[0]
    copy = model("grpo", grades=market.grades)
    assert "exactly what buy and hold does in 100%" in warned(board(market, copy))
    assert "exactly" not in warned(board(market, model("grpo", 0.03)))


def test_a_claim_that_does_not_survive_the_number_of_comparisons_is_named() -> None:
    # 60 differences with a mean of .0112 and a deviation of .04: t is 2.2, shown alone, but not as one of several.
    sft, thin = model("sft"), [0.0512 if n % 2 else -0.0288 for n in range(EPISODES)]
    grpo = model("grpo", grades=[grade + more for grade, more in zip(sft.grades, thin, strict=True)])
    assert verdict_of(difference(grpo, sft)) == "better"
    found = board(*rules(), sft, grpo)
    text = warned(found)
    assert "3 differences" in text
    assert text.endswith(": grpo minus sft.")
    assert "not shown" in run_headline(found)[0]


def test_without_training_all_agents_are_counted() -> None:
    thin = [0.575 + (0.0512 if n % 2 else -0.0288) for n in range(EPISODES)]
    found = board(*rules(a=0.0, b=0.0, c=0.0), result("lucky", grades=thin), stages=())
    assert "4 differences" in warned(found)


def test_mostly_holding_is_a_collapse_only_if_nothing_is_traded() -> None:
    def found(share: float) -> list[str]:
        return episode_training_warnings({"grpo": [{"step": 1, "reward": 1.0, "answers/HOLD": share}]}, {}, 20)

    assert found(0.95) == []
    assert "99% of the answers" in found(0.99)[0]
    other = episode_training_warnings({"grpo": [{"step": 1, "reward": 1.0, "answers/BUY": 0.95}]}, {}, 20)
    assert "95% of the answers were BUY" in other[0]


# the terminal


@pytest.mark.parametrize("warnings", [[], ["a warning of many words " * 9, "another"]])
def test_the_terminal_shows_the_table_and_at_most_six_lines(warnings: list[str]) -> None:
    found = board(*rules(macd=0.1, rsi=0.05), model("base model (tiny)", -0.2), model("sft"), model("grpo", 0.07))
    console = Console(record=True, width=80, quiet=False, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    print_board(console, found)
    assert "grpo" in console.export_text()
    print_summary(console, run_headline(found), warnings)
    lines = console.export_text().splitlines()
    assert len(lines) <= 6
    assert all(len(line) <= 80 for line in lines)
    assert lines[0].startswith("grpo beat sft")
    assert "The report has the rest." in lines
    assert any(line.startswith("2 warnings, the first: a warning") for line in lines) == bool(warnings)
    print_summary(console, run_headline(found)[:1], [])
    assert "report" not in console.export_text()
