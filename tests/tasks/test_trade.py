"""The trade task: beginnings within their split, expert episodes, and what days are worth."""

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from markets import market
from pydantic import ValidationError

from tradeschool.chat import Episode, Message
from tradeschool.env.config import EnvError, env_config
from tradeschool.env.features import HOLDING, MARKET
from tradeschool.env.grading import grade
from tradeschool.env.render import FACTS
from tradeschool.env.strategies import FACTS_READ, STRATEGIES, State, make_strategy
from tradeschool.errors import ParseError, RecipeError
from tradeschool.market.panel import Floats
from tradeschool.market.splits import split_rows
from tradeschool.rollout import MultiTurnTask, run_episodes
from tradeschool.tasks.base import Demonstration
from tradeschool.tasks.trade import TradeTask
from tradeschool.tasks.trade_config import TradeConfig
from tradeschool.text.parse import Order, parse_orders

PANEL = market(tickers=12, days=500)


def task_of(**config: Any) -> TradeTask:
    return TradeTask(TradeConfig(**config), PANEL, split_rows(PANEL, (0.6, 0.1, 0.3), embargo=16, warmup=60))


@pytest.fixture(scope="module")
def task() -> TradeTask:
    return task_of(env={"days": 8})


def test_examples_start_conversations(task: TradeTask) -> None:
    assert isinstance(task, MultiTurnTask)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_episodes_begin_and_end_within_their_split(task: TradeTask, split: Any) -> None:
    rows = set(task.rows(split).tolist())
    starts = [example.t for example in task.examples(split)]
    assert starts == sorted(set(starts))
    assert all({t, t + 8} <= rows for t in starts)
    env = task.env(split, "numeric")
    for seed in range(20):
        env.reset(seed=seed)
        assert {env.episode.start, env.episode.start + 8} <= rows


def test_a_prompt_holds_the_rules_and_the_first_day_of_its_example(task: TradeTask) -> None:
    example = task.example(100, variant=3)
    messages = task.messages(example)
    assert [message["role"] for message in messages] == ["system", "user"]
    chat = task.chat_env("train")
    assert messages == chat.reset(example)
    assert chat.env.episode.start == 100
    others = {task.messages(task.variant(example, number))[1]["content"] for number in range(6)}
    assert len(others) > 1


@pytest.mark.parametrize("question", ["episode", "day"])
def test_without_instructions_only_the_rules_are_left_out(question: Any) -> None:
    task, short = (task_of(env={"days": 8}, question=question, instructions=one) for one in (True, False))
    example = task.examples("train")[3]
    assert [message["content"] for message in short.messages(example)] == [
        "Trade.",
        task.messages(example)[1]["content"],
    ]


def test_a_prompt_does_not_depend_on_later_days(task: TradeTask) -> None:
    from markets import scrambled_after

    example = task.example(100)
    other = TradeTask(task.config, scrambled_after(PANEL, 100), task.split)
    assert other.messages(example) == task.messages(example)


def test_answers_are_read_as_the_environment_reads_them(task: TradeTask) -> None:
    orders = task.parse("<think>RSI up</think>\nBUY 0.5")
    assert task.parse(task.format_answer(orders, "why")) == orders
    assert [task.action_name(task.parse(text)) for text in ("BUY 1", "SELL", "HOLD")] == ["BUY", "SELL", "HOLD"]


def test_without_masks_only_the_stocks_of_the_episode_can_be_named() -> None:
    task = task_of(env={"days": 8, "mask": False})
    chat = task.chat_env("train")
    chat.reset(task.example(100))
    env = chat.env
    (name,) = env.names
    other = next(ticker for ticker in PANEL.tickers if ticker != name)
    assert task.parse("BUY 0.5", env.names) == task.parse(f"BUY {name} 0.5", env.names) == [Order("BUY", name, 0.5)]
    with pytest.raises(ParseError, match="there is no stock"):
        task.parse(f"BUY {other} 0.5", env.names)
    with pytest.raises(EnvError, match="give names"):
        task.parse("BUY 0.5")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"level": "Esy"}, "Did you mean 'Easy'"),
        ({"demonstrators": ["momentun"]}, "Did you mean 'momentum 5d'"),
        ({"weights": {"profits": 1}}, "Did you mean 'profit'"),
        ({"weights": {"profit": 0}}, "nothing is learned"),
        ({"weights": {}}, "nothing is learned"),
        ({"facts": ["rsi"]}, "facts are"),
        ({"weights": {"profit": float("nan")}}, "finite number"),
        ({"weights": {"profit": 1, "risk": float("inf")}}, "finite number"),
        ({"weights": {"profit": 1, "grade": -2}}, "greater than or equal to 0"),
        ({"discount": float("nan")}, "finite number"),
        ({"env": {"dais": 3}}, "Did you mean 'days'"),
        ({"env": {"observation": "numeric"}}, "Use form"),
        ({"demonstrators": ["expert"]}, "Set answers: one_order"),
        ({"demonstrators": ["expert"], "answers": "one_order", "describe": ["market"]}, "Add some of strength"),
    ],
)
def test_invalid_settings_are_refused(config: dict[str, Any], words: str) -> None:
    with pytest.raises(Exception, match=words) as refused:
        TradeConfig(**config)
    assert isinstance(refused.value, ValidationError) or "setting" in str(refused.value)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_demonstrator_that_reads_hidden_facts_is_refused(name: str) -> None:
    assert TradeConfig(demonstrators=[name], facts=list(FACTS_READ[name])).demonstrators == [name]
    for fact in FACTS_READ[name]:
        shown = [other for other in FACTS if other != fact]
        with pytest.raises(ValidationError, match=rf"the demonstrator '{re.escape(name)}'.*omits {fact}"):
            TradeConfig(demonstrators=["hold", name], facts=shown)


def test_the_rules_that_read_only_the_facts_are_named() -> None:
    with pytest.raises(ValidationError, match="omits macd_hist.*: hold, buy and hold, equal weight, rsi, random"):
        TradeConfig(facts=["rsi_14"])


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_facts_that_a_rule_reads_are_the_declared_ones(name: str) -> None:
    """Nothing but what is declared changes an order or a reason, and all of it changes some."""
    played, rng = make_strategy(name), np.random.default_rng(0)
    columns = [fact.name for fact in (*MARKET, *HOLDING)]
    facts_BNK = np.zeros((300, 2, len(columns)), np.float32)
    facts_BNK[..., 0] = 1
    for fact, spread in (("change_5", 3.0), ("macd_hist", 0.5), ("share", 20.0)):
        facts_BNK[..., columns.index(fact)] = rng.normal(0, spread, (300, 2))
    facts_BNK[..., columns.index("rsi_14")] = rng.uniform(10, 90, (300, 2))
    facts_BNK[..., columns.index("share")] = np.abs(facts_BNK[..., columns.index("share")]).round(-1)

    def answered(facts_BNK: np.ndarray) -> list[Any]:
        account = np.tile(np.array([60, 100, 20, 0], np.float32), (300, 1))
        vectors = np.concatenate([facts_BNK.reshape(300, -1), account], axis=1)
        state = State(env_config(tickers=2), (("S1", "S2"),) * 300, tuple(range(300)), 0, np.ones(300, np.bool_))
        orders_BN = played.act(vectors, state)
        return [
            (list(orders), played.why(own, orders, ("S1", "S2")))
            for own, orders in zip(facts_BNK, orders_BN, strict=True)
        ]

    before, moving = answered(facts_BNK), []
    for fact in FACTS:
        changed = facts_BNK.copy()
        changed[..., columns.index(fact)] = rng.uniform(5, 95, (300, 2)) * rng.choice([-1, 1], (300, 2)) ** (
            fact != "rsi_14"
        )
        if answered(changed) != before:
            moving.append(fact)
    assert sorted(moving) == sorted(FACTS_READ[name])
    assert STRATEGIES.keys() == FACTS_READ.keys()


def test_levels_are_case_insensitive() -> None:
    assert TradeConfig(level="medium").environment().tickers == 10


# demonstrations ---------------------------------------------------------------------------------


def classes(one: Demonstration) -> list[str]:
    answers = [message["content"] for message in one.messages if message["role"] == "assistant"]
    return [answer.rpartition("\n")[2].split()[0] for answer in answers]


@pytest.mark.parametrize("turns", [None, 3])
@pytest.mark.parametrize(
    "level", [{"level": "Easy"}, {"level": "Medium"}, {"level": "Medium", "env": {"leverage": 5.0}}]
)
def test_demonstrations_are_balanced_over_what_is_learned(level: dict[str, Any], turns: int | None) -> None:
    task = task_of(**level)
    found = task.demonstrations(120, 0, turns=turns)
    assert {len(one.learned) for one in found} == {turns or task.config.environment().days}
    learned = [
        (answer, flag)
        for one in found
        for answer, flag in zip(
            (m["content"] for m in one.messages if m["role"] == "assistant"), one.learned, strict=True
        )
    ]
    names = [f"S{n}" for n in range(1, task.config.environment().tickers + 1)]
    sides = Counter(
        "+".join(sorted({order.side for order in parse_orders(answer, names)})) for answer, flag in learned if flag
    )
    assert sides["BUY"] == sides["SELL"] == sides["HOLD"]
    assert sides["BUY+SELL"] == (0 if level["level"] == "Easy" else sides["BUY"])
    assert sum(sides.values()) >= 120
    assert any(not flag for _, flag in learned)
    assert all("<think>" in answer for answer, flag in learned if flag)


def test_demonstrators_give_the_rules_own_orders_and_reasons() -> None:
    trades = 0
    for one in task_of(demonstrators=["macd"], random_action_prob=0.0).demonstrations(60, 0):
        for shown, answer in zip(one.messages[1::2], one.messages[2::2], strict=True):
            line = shown["content"].split("\n")[-1]
            above = float(line.partition("MACD ")[2].partition("%")[0])
            expected = "SELL 1" if above < 0 and "held" in line else "BUY 1" if above > 0 and "held" not in line else ""
            if above and expected:
                word = "sell" if above < 0 else "buy"
                assert re.fullmatch(rf"<think>MACD -?\d+\.\d\d, {word}</think>\n{expected}", answer["content"])
                trades += 1
            elif above:
                assert answer["content"].endswith("</think>\nHOLD")
    assert trades > 40


def test_demonstrators_take_turns_by_day() -> None:
    found = task_of(demonstrators=["momentum 5d", "macd"], random_action_prob=0.0).demonstrations(200, 0)
    reasons = [
        [m["content"] for m in one.messages if m["role"] == "assistant" and "," in m["content"]] for one in found
    ]
    both = [own for own in reasons if any("5d" in one for one in own) and any("MACD" in one for one in own)]
    assert len(both) > len(found) / 2


@pytest.mark.parametrize("level", [{"env": {"tickers": 1, "days": 8}, "question": "day"}, {"question": "stock"}])
def test_the_expert_follows_the_words_of_the_described_facts(level: dict[str, Any]) -> None:
    points = {"strong": 1, "very strong": 2, "weak": -1, "very weak": -2, "good": 1, "bad": -1}
    task = task_of(
        level="Medium",
        facts=["change_5"],
        describe=["strength", "news"],
        answers="one_order",
        demonstrators=["expert"],
        random_action_prob=0.0,
        **level,
    )
    sides: Counter[str] = Counter()
    for one in task.demonstrations(90, 0):
        shown, answer = one.messages[1]["content"], one.messages[2]["content"]
        strength, news = re.fullmatch(r"<think>Strength (.+)\. News (.+)\.</think>\n.+", answer).groups()  # type: ignore[union-attr]
        side = answer.rpartition("\n")[2].split()[0]
        total = points.get(strength, 0) + points.get(news, 0)
        assert side == "HOLD" or (side == "BUY") == (total > 0)
        if total < 0 and "held" in shown:
            assert side == "SELL"
        sides[side] += 1
    assert min(sides[side] for side in ("BUY", "SELL", "HOLD")) >= 30


def test_random_actions_have_no_loss() -> None:
    found = task_of(random_action_prob=0.5).demonstrations(200, 0)
    answers = [
        (message["content"], flag)
        for one in found
        for message, flag in zip((m for m in one.messages if m["role"] == "assistant"), one.learned, strict=True)
    ]
    random = [flag for answer, flag in answers if "<think>" not in answer]
    assert 0.4 < len(random) / len(answers) < 0.6
    assert not any(random)


def test_reasons_in_words_contain_no_figures() -> None:
    reasons = {
        message["content"].partition("</think>")[0]
        for one in task_of(figures=False).demonstrations(100, 0)
        for message in one.messages
        if message["role"] == "assistant" and "<think>" in message["content"]
    }
    assert not any(character.isdigit() for reason in reasons for character in reason.replace("5d", ""))
    assert {"<think>RSI oversold, buy", "<think>MACD up, buy", "<think>MACD down, sell", "<think>5d up, buy"} <= reasons


@pytest.mark.parametrize("name", ["hold", "buy and hold"])
def test_a_demonstrator_of_one_class_is_refused_and_one_of_two_is_balanced_over_them(name: str) -> None:
    if name == "hold":
        with pytest.raises(RecipeError, match="task.demonstrators: hold only ever answer HOLD"):
            task_of(demonstrators=[name]).demonstrations(50, 0)
        return
    found = task_of(demonstrators=[name], random_action_prob=0.0).demonstrations(50, 0)
    learned = Counter(side for one in found for side, flag in zip(classes(one), one.learned, strict=True) if flag)
    assert learned["BUY"] == learned["HOLD"] >= 16


def test_the_same_seed_gives_the_same_episodes(task: TradeTask) -> None:
    assert task.demonstrations(60, 3) == task.demonstrations(60, 3)
    assert task.demonstrations(60, 3) != task.demonstrations(60, 4)


# rewards -----------------------------------------------------------------------------------------


class Scripted:
    """Answers by a function of the day and the episode."""

    def __init__(self, answer: Callable[[int, int], str]) -> None:
        self._answer, self._day = answer, -1

    def start(self, conversations: Any, seeds: Any = None) -> None:
        self._count = len(conversations)

    def answer(self, live: Any) -> list[str | None]:
        self._day += 1
        return [self._answer(self._day, b) for b in range(self._count)]

    def add_user_turn(self, turns: Any) -> None:
        """Nothing is read."""


def played(task: TradeTask, answer: Callable[[int, int], str], count: int = 4) -> list[Episode]:
    envs = [task.chat_env("train") for _ in range(count)]
    return run_episodes(Scripted(answer), envs, [task.example(100 + 10 * b) for b in range(count)])


class Remembering(Scripted):
    """Holds every day, and remembers what each conversation begins with."""

    def __init__(self) -> None:
        super().__init__(lambda day, b: "HOLD")
        self.begun: list[Any] = []

    def start(self, conversations: Any, seeds: Any = None) -> None:
        super().start(conversations, seeds)
        self.begun += [list(one) for one in conversations]


def test_every_conversation_begins_with_the_rules_then_the_answered_questions() -> None:
    task, chat = task_of(question="day", env={"days": 4}), Remembering()
    shots: list[Message] = [{"role": "user", "content": "asked"}, {"role": "assistant", "content": "BUY 1"}]
    (episode,) = run_episodes(chat, [task.chat_env("train")], [task.example(100)], shots=shots)
    assert len(chat.begun) == 4
    assert all([one["role"] for one in begun] == ["system", "user", "assistant", "user"] for begun in chat.begun)
    assert all(begun[1:3] == shots for begun in chat.begun)
    assert not any(message in shots for message in episode.messages)


def rewards(task: TradeTask, answer: Callable[[int, int], str]) -> dict[str, Floats]:
    return task.episode_rewards(played(task, answer))


def test_profit_is_the_return_in_excess_of_the_market(task: TradeTask) -> None:
    invested = rewards(task, lambda day, b: "HOLD" if day else "BUY 1")
    assert invested["profit"] == pytest.approx(np.zeros((8, 4)), abs=1e-9)
    idle = rewards(task, lambda day, b: "HOLD")
    assert idle["risk"] == pytest.approx(0.0)
    # What the market gives in log returns, in its own volatilities.
    assert np.sqrt(-2 * invested["risk"]) == pytest.approx(np.abs(idle["profit"]))
    assert 0.3 < np.abs(idle["profit"]).mean() < 2


def test_the_grade_is_given_on_the_last_day(task: TradeTask) -> None:
    episodes = played(task, lambda day, b: ("BUY 1", "SELL 1")[(day + b) % 2])
    grades_DB = task.episode_rewards(episodes)["grade"]
    envs: Any = [episode.env for episode in episodes]
    assert grades_DB[-1] == pytest.approx([grade(one.env).total for one in envs])
    assert not grades_DB[:-1].any()


def test_a_day_with_a_refused_order_is_counted(task: TradeTask) -> None:
    found_DB = rewards(task, lambda day, b: "SELL 1" if b == 1 else "what?" if (b, day) == (2, 3) else "HOLD")
    expected = np.ones((8, 4))
    expected[:, 1] = 0
    expected[3, 2] = 0
    assert (found_DB["valid_order"] == expected).all()


def test_a_bankruptcy_is_charged_on_its_day_alone() -> None:
    task = task_of(env={"days": 8, "ruin": 0.999, "commission": 0.05})
    (episode,) = played(task, lambda day, b: "BUY 1", count=1)
    assert (episode.stop, len(episode.turns)) == ("bankrupt", 1)
    found = task.episode_rewards([episode])
    assert found["risk"][0, 0] < 0
    assert not found["risk"][1:].any()
    assert not found["profit"][1:].any()


def test_components_of_the_episode_are_not_discounted() -> None:
    discounts = task_of(discount=0.7).turn_discounts
    assert discounts == {"profit": 0.7, "risk": 0.7, "grade": 1.0, "activity": 1.0, "valid_order": 0.7}
    assert task_of(advantage="episode").turn_discounts is None


# the version -------------------------------------------------------------------------------------


GOLDEN_PROMPT = [
    "Trade one stock for 3 days. Answer every day with orders, one a line: BUY FRACTION of the cash, SELL FRACTION of "
    "the holding, or HOLD. Orders fill at the next open, with costs.",
    "day 0 of 3, cash 100%, equity 100.0%\nS1 1d 2.0% 5d 2% RSI 50 MACD 0.61% SMA50 -1% band 72% vol 1.7% volume 1.4",
]
GOLDEN_REWARDS = {
    "profit": [-0.30944981826904966, -0.6890151272343413, -0.2632880630605112],
    "risk": [-0.04866384212746142, -0.1149011916734019, -0.013726982618249681],
    "grade": [0.0, 0.0, 0.13840033703201915],
    "activity": [0.0, 0.0, 0.0005903737910314573],
    "valid_order": [1.0, 1.0, 0.0],
}


def test_version_1_0_0_is_unchanged() -> None:
    """Raise ``TradeTask.version`` when one of these changes."""
    task = TradeTask(TradeConfig(level="Easy", env={"days": 3}), PANEL, task_of().split)
    assert task.version == "1.0.0"
    example = task.example(100, variant=2)
    assert [message["content"] for message in task.messages(example)] == GOLDEN_PROMPT
    answers = ["<think>why</think>\nBUY 0.5", "SELL 25%", "what?"]
    episode = run_episodes(Scripted(lambda day, b: answers[day]), [task.chat_env("train")], [example])[0]
    orders = [turn.result.info["action"] for turn in episode.turns]
    assert orders == [[Order("BUY", "S1", 0.5)], [Order("SELL", "S1", 0.25)], None]
    found = task.episode_rewards([episode])
    assert found.keys() == GOLDEN_REWARDS.keys()
    for name, value_DB in found.items():
        assert value_DB[:, 0] == pytest.approx(GOLDEN_REWARDS[name])
