"""The page docs/recipes.md: every key of a recipe, with types and defaults from the pydantic models.

    PYTHONPATH=.:tests python tests/docs_recipes.py

writes the page. The lines that describe a key are here; a key without a line is an error.
"""

import datetime
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tradeschool.config.recipe import TASKS
from tradeschool.config.sections import DeepStockMarket, FilesMarket, SampleMarket, SplitConfig, WindowsMarket
from tradeschool.env.config import EnvConfig
from tradeschool.env.features import MARKET
from tradeschool.env.render import FACTS as TRADE_FACTS
from tradeschool.env.strategies import STRATEGIES
from tradeschool.evaluate.ensembles import EnsembleConfig
from tradeschool.evaluate.evaluation_set import Costs
from tradeschool.evaluate.leaderboard.stage import Config as LeaderboardConfig
from tradeschool.evaluate.stage import Config as EvaluateConfig
from tradeschool.market.calendar import EXCHANGES
from tradeschool.market.synthetic import SyntheticConfig
from tradeschool.models.load import LoraConfig, ModelConfig, TinyConfig
from tradeschool.tasks.direction_config import COMPONENTS as DIRECTION_COMPONENTS
from tradeschool.tasks.direction_config import DirectionConfig
from tradeschool.tasks.forecast_config import ForecastConfig
from tradeschool.tasks.rating_config import COMPONENTS, RatingConfig
from tradeschool.tasks.rating_rewards import OutcomeConfig
from tradeschool.tasks.thesis_account import AccountConfig
from tradeschool.tasks.thesis_config import ThesisConfig
from tradeschool.tasks.thesis_rewards import ACCOUNT, JOINT, TEXT
from tradeschool.tasks.trade_config import TradeConfig
from tradeschool.text.describe import _NUMBERS as NUMBERS
from tradeschool.text.describe import FACTS
from tradeschool.text.sections import SECTIONS
from tradeschool.train.grpo import Config as GRPOConfig
from tradeschool.train.ppo import Config as PPOConfig
from tradeschool.train.reject import Config as RejectConfig
from tradeschool.train.sft import Config as SFTConfig
from tradeschool.train.teach import Config as TeachConfig

PAGE = Path(__file__).parents[1] / "docs" / "recipes.md"
NAMES: dict[type[Any], str] = {
    EnsembleConfig: "mapping",
    bool: "true or false",
    int: "integer",
    float: "number",
    str: "string",
    Path: "path",
}
LIMITS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}

CURRICULUM = {
    "curriculum": "training questions: all, every class equally often, or those of volatile days",
    "volatile_share": "share of the training days that `volatile` uses: the most volatile ones",
    "volatile_by": "what `volatile` goes by: the volatility of the market's returns, or a `volatility_index` among "
    "the events",
}
STAGE = {"name": "name of the stage, used in `--set stages.NAME.key=value` and in the run folder"}
TRL = "options of TRL's {}, except folders, seeds and what resuming needs, which the run sets"
REAL = {
    "events": "files of news, tweets, fundamentals and other rows ([data.md](data.md))",
    "names": "table of company names (Ticker, Company), which masking hides in texts",
    "exchange": f"{', '.join(EXCHANGES)}: its calendar and closing time apply",
    "dated_events": "the day at whose close an event with a date and no time becomes known",
}
SYNTHETIC = {
    "seed": "seed of the simulation",
    "tickers": "number of stocks",
    "days": "number of trading days",
    "drift": "expected return of every stock in a year; the same for all, so it is not an edge",
    "edge": "correlation of the best possible forecast with the next excess return in volatilities; 0: nothing can be "
    "predicted",
    "start": "the first day",
    "fundamentals": "made-up quarterly figures of every company, which have nothing to do with its prices",
}
CHECKED = {
    "splits": "whether what looks like a split without an Adj Close is an error or a warning",
    "spikes": "whether a bar far from both of its neighbours is an error or is left out",
    "accept": "moves that are accepted although the checks refuse them, by ticker and day: `['ABC 2016-01-04']`",
    **REAL,
}
FILES = {
    "path": "a folder of CSV or of parquet files, or one such file",
    "adjust": "adjust prices and volumes for splits and dividends where there is an Adj Close column",
    **CHECKED,
}
SPLIT = {
    "train": "share of the dates",
    "validation": "share of the dates, between train and test",
    "test": "share of the dates, the last ones",
    "validation_from": "first day of the validation split, instead of shares",
    "test_from": "first day of the test split, instead of shares",
    "embargo": "dates dropped before validation and before test; `auto`: one more than the longest horizon of rewards "
    "and labels, so 16 or more",
    "warmup": "dates dropped at the start, where indicators have too little history",
    "folds": "walk-forward splits: the test split is cut into this many consecutive parts",
    "fold": "the part to test on, counted from 0; validation lies just before it, and training uses the dates before "
    "that: `--set split.folds=5 --set split.fold=2` tests on the third of five parts",
}
RATING = {
    "facts": "lines of the prompt, in order ([list](#facts-of-the-rating-task))",
    "sections": "tables and lists after the facts ([list](#sections-of-the-rating-task))",
    "variants": "prompts per ticker and date of the training split, each with another selection and order of sections",
    "variant_seed": "seed of these selections",
    "mask": "hide tickers, names and dates",
    "instructions": "true: a system message that explains the answer's format; a text: that message itself; for a "
    "pretrained model true by default",
    "horizons": "days over which rewards measure the return; a reward is the mean over them, and the evaluation uses "
    "the first",
    "risk_aversion": "charge for a position: `risk_aversion` / 2 x position^2; for real prices 0.02, as in "
    "`recipes/stocks.yaml`, because with 0.2 HOLD is nearly always best there. For `judge`: "
    "[evaluation.md](evaluation.md#decisions-from-a-csv-file)",
    "label_mode": "`forward`: labels from forward returns; `paper`: from trailing returns, as "
    "[Trading-R1](https://arxiv.org/abs/2509.11420) prints the algorithm; they hold nothing about the future",
    "hindsight_share": "share of SFT answers that state the label instead of the rating of the expert, a rule that "
    "adds up points for the words of the facts ([glossary](glossary.md))",
    "eval_score": "reward components whose sum is the score that policies are compared by",
    "weights": "weights of the reward components in training ([list](#reward-components-of-the-rating-task))",
    "outcome": "settings of the component `outcome`: `task.outcome`, below",
}
THESIS = {
    "form": "`full`: Trading-R1's thesis of five to seven sections; `short`: three sections for small models; "
    "`simple`: the tags `reasoning`, `support` and `action` ([thresholds](rewards.md#of-the-text))",
    "argued": "true: SFT's theses argue for their decision; false: they state both sides, and only then decide",
    **{name: line for name, line in RATING.items() if name != "weights"},
    "hindsight_share": "share of SFT theses with the label instead of the rating of the expert, a rule that adds up "
    "points for the words of the facts",
    "weights": "weights of the reward components in training ([list](#reward-components-of-the-thesis-task))",
    "combine": "how the rewards of market and evidence are joined: they add up, or evidence is the `gate` of a gain, "
    "or a factor ([rewards.md](rewards.md#of-the-text))",
    "gate": "least evidence for a gain with `combine: gate`",
    "account": "the account that follows the rating: `task.account`, below",
}
THESIS_ACCOUNT = {
    "window": "days that the position is held",
    "ratio": "of the component `risk_adjusted`",
    "commission": "share of the traded value",
    "slippage": "share by which a fill is worse than the open",
}
DIRECTION = {
    "facts": "lines of the prompt, in order ([list](#facts-of-the-rating-task))",
    "sections": "tables and lists after the facts, each where something of it is known "
    "([list](#sections-of-the-rating-task))",
    "mask": "hide tickers, names and dates; the description of the company is shown only without it",
    "instructions": "true: a system message that explains the answer's format; a text: that message itself; for a "
    "pretrained model true by default",
    "horizons": "days until the outcome; every question names its own",
    "label": "the outcome is the move above the mean of all stocks (`neutral`), or the stock's own (`raw`)",
    "confidences": "confidences of the decisions with `group: decisions`, each with UP and with DOWN",
    "hindsight_share": "share of SFT answers that state the direction of the outcome instead of that of the expert, a "
    "rule that adds up points for the words of the facts ([glossary](glossary.md))",
    "weights": "weights of the reward components in training ([list](#reward-components-of-the-direction-task))",
}
OUTCOME = {
    "bound": "largest gain, and largest loss before `loss_weight`",
    "loss_weight": "weight of losses relative to gains",
    "dead_zone": "HOLD gains on moves up to this size (in volatilities, as all sizes here)",
    "unit": "size of a move from which the whole gain or loss counts; greater than `dead_zone`",
    "steps": "above the first size BUY or SELL fits a move best, above the second STRONG_BUY or STRONG_SELL",
    "cost": "reward deducted from every rating but HOLD",
}
TRADE = {
    "level": "stocks and days: Easy (1, 20), Medium (10, 30) or Hard (25, 40)",
    "env": "settings of the environment that override the level's: `task.env`, below",
    "form": "how conversations write a day: labels before figures, labels once, or figures alone",
    "facts": "the market's figures that a message shows ([list](#facts-of-the-trade-task))",
    "figures": "whether the demonstrators' reasons contain numbers, or words alone",
    "demonstrators": f"what SFT imitates: the [strategies](leaderboard.md#strategies) {', '.join(STRATEGIES)}, or "
    "`expert`, the rating task's expert, which decides by the words of `describe`",
    "random_action_prob": "share of the days of demonstrations on which a random order replaces the demonstrator's; "
    "random orders do not count in the loss",
    "advantage": "`turn`: GRPO credits each answer with the rewards from its day on; `episode`: all answers with the "
    "episode's sum",
    "discount": "factor per day on later rewards, with `advantage: turn` and with `group: decisions`",
    "describe": "facts of the rating task that a message about one stock ends with, such as `market` and `news`",
    "instructions": "false leaves out the rules before the first day",
    "answers": "`reasons`: the demonstrator's reason and all its orders of the day; `one_order`: a single order, which "
    "`group: decisions` needs",
    "question": "what a conversation is about: the episode so far, one day, or one stock on one day",
    "weights": "weights of the reward components ([list](environment.md#training-on-episodes-task-name-trade)): "
    "`profit`, `risk`, `grade`, `activity`, `valid_order`",
}
FORECAST = {
    "inputs": "number of closes in a window",
    "horizons": "days ahead whose closes are forecast, ascending, one number each: `[1, 5, 20]` asks for three",
    "unit": "how closes are written: `scaled`, in standard deviations from the mean of the training closes, or as "
    "changes from the last close in daily volatilities; scores are the same",
    "decimals": "decimals of the closes in prompts and answers",
    "facts": "lines of the prompt before the sections ([list](#facts-of-the-rating-task))",
    "sections": "sections of the prompt about the window: `closes`, `indicators`, `statistics`",
    "mask": "hide tickers, names and dates",
    "instructions": "true: a system message that explains the answer's format; a text: that message itself; for a "
    "pretrained model true by default",
    "grid": "the decisions with `group: decisions`, each a path: the change of its first day, in daily volatilities",
    "decay": "change of each later day of such a path, as a share of the change of the day before; 1 is a straight "
    "line",
    "hindsight_share": "share of SFT answers that state the path of the grid nearest to the true one instead of the "
    "one nearest to the expert's forecast, the simple forecast that was best in training",
    "full_position": "forecast change over the longest horizon, in volatilities of as many days, at which the "
    "backtest's position is full",
    "statistical": "whether ARIMA and exponential smoothing are among the baselines; they need the `forecast` extra",
    "weights": "weights of the reward components in training ([list](forecast.md#rewards)): `agreement`, `size`, "
    "`format`, `accuracy`, `think`, `count`, `tags`",
}
ENV = {
    "tickers": "number of stocks",
    "days": "number of days, each with one decision",
    "cash": "cash at the start",
    "commission": "commission as a share of the traded value",
    "slippage": "how much worse a fill is than the open, as a share of the open",
    "volume_share": "largest share of a day's volume that one order may fill",
    "short": "whether a SELL without a holding opens a short",
    "leverage": "largest gross exposure that an order may lead to, as a multiple of the equity",
    "interest": "yearly interest rate on cash; negative cash pays it",
    "ruin": "the episode ends when the equity is at most this share of the start",
    "delisting_return": "return on the last close of a holding whose bars end",
    "mask": "hide tickers and dates",
}
MODEL = {
    "base": "`tiny`, `smollm2-135m` ([pretrained.md](pretrained.md)), a local folder or a Hub name of a causal "
    "language model",
    "tiny": "shape of the tiny model: `model.tiny`, below",
    "lora": "train adapters instead of all weights: `model.lora`, below; for a pretrained model by default `{r: 16}`",
    "attention": "transformers' attn_implementation; `auto`: eager on a CPU, else sdpa",
    "dtype": "data type of the weights",
    "load_in_4bit": "load the weights in 4 bits; needs the `gpu` extra",
    "template": "variables of the chat template, such as `{enable_thinking: false}`",
}
TINY = {
    "vocabulary": "number of tokens of its tokenizer",
    "hidden_size": "width of the layers",
    "layers": "number of layers",
    "heads": "number of attention heads",
    "intermediate_size": "width of the feed-forward layers",
    "positions": "longest sequence in tokens",
}
LORA = {
    "r": "rank of the adapters",
    "lora_alpha": "scaling: adapters are multiplied by `lora_alpha` / `r`",
    "lora_dropout": "share of an adapter's inputs that is dropped in training",
    "target_modules": "layers that get adapters",
}
SFT = {
    **STAGE,
    "examples": "number of answers to imitate",
    "turns": "cut conversations of a task of episodes after this many answers",
    "data": "an earlier stage whose data set is imitated instead, or a file of answers ([pipeline.md](pipeline.md))",
    "model": "stage whose weights to start from, or `base`",
    **CURRICULUM,
    "curriculum": f"{CURRICULUM['curriculum']}; the answers of the rating task are balanced with each of them",
    "trl": TRL.format("SFTConfig"),
}
GRPO = {
    **STAGE,
    "questions": "number of training questions to draw from",
    "objective": "the loss: `grpo`, a policy gradient; `gvpo`, a regression onto rewards; or `ppo`, a policy gradient "
    "with a critic ([learning.md](learning.md))",
    "group": "`sampled`: sampled answers; `decisions`: all decisions of a question, for tasks with a finite set of "
    "them",
    "reasonings": "with `group: decisions`, how many reasonings to sample for each question; 0: the task's own "
    "reasoning",
    "tau": "temperature of `gvpo`, in standard deviations of the reward",
    "shrink": "with `gvpo` and `decisions`: multiply the part of the rewards that depends on the outcome by a factor "
    "that says how well forecasts hold on the validation dates",
    "sft_weight": "with `group: decisions`, weight of the cross-entropy of the tokens around the decision",
    "gae_lambda": "with `ppo`: 1 credits every token with the whole reward less the critic's value, 0 with the value's "
    "next change",
    "critic_learning_rate": "with `ppo`: of the critic's Adam",
    "lora": "new adapters on top of the weights and adapters of the stages before: keys of `model.lora`",
    "log_answers": "write every answer beside what happened ([learning.md](learning.md#what-is-logged))",
    "weights": "of the task's reward components in this stage, instead of `task.weights`; those not named have 0",
    "by_date": "keep the questions of a date together; no effect on episodes",
    "share_prefix": "compute the part that the answers of a group share only once; no effect on episodes",
    "model": "stage whose weights to start from, or `base`",
    **CURRICULUM,
    "trl": TRL.format("GRPOConfig"),
}
REJECT = {
    **STAGE,
    "model": "stage whose weights answer, or `base`",
    "questions": "number of training questions that are asked",
    "n": "number of answers to each question",
    "temperature": "temperature of the answers",
    "keep": "`best`: the answer with the highest reward; `margin`: all different answers whose reward is at least "
    "`margin` above the mean of the question's answers",
    "margin": "for `keep: margin`, in units of the reward",
    "min_reward": "lowest reward of an answer that is kept",
    "max_kept": "the stage ends when it has kept this many answers",
    "max_new_tokens": "largest number of tokens of an answer",
    "batch_size": "number of answers that are sampled at a time; they are written to disk after each batch",
    "csv": "also write the kept answers as `{TICKER}_sft_training_data.csv`",
    "weights": "of the task's reward components in this stage, instead of `task.weights`; those not named have 0",
    **CURRICULUM,
}
TEACH = {
    **STAGE,
    "remote": "the chat server: `base_url`, `model`, `request`, `timeout`, `retries`, `concurrency`, `price_input`, "
    "`price_output`, `spending_limit`, `answers` ([agents.md](agents.md)); without `answers` a file in the stage's "
    "folder",
    "examples": "number of theses",
    "attempts": "theses that the server is asked for about a question before the offline teacher writes one",
    "batch_size": "number of questions whose requests are sent together",
    **CURRICULUM,
}
PPO = {
    **STAGE,
    "steps": "number of decisions to learn from",
    "envs": "number of parallel episodes",
    "facts": "figures that the network reads, besides account and holdings",
    "sb3": "arguments of Stable-Baselines3's PPO",
}
EVALUATE = {
    **STAGE,
    "split": "split whose dates are asked about",
    "seed": "seed of the draw of tickers and of the random baseline; the recipe's `seed` changes neither",
    "tickers": "number of tickers that are asked about, drawn by `seed`",
    "models": "training stages whose models are evaluated",
    "base": "evaluate the base model too",
    "baselines": "further policies as `my_package.module:Class` ([extending.md](extending.md#a-custom-policy))",
    "few_shot": "number of questions of training dates, with answers, that the base model sees before each question",
    "constrained": "take the most likely decision where the answer of a language model cannot be read",
    "max_new_tokens": "largest number of tokens of an answer",
    "batch_size": "number of questions that are answered at a time",
    "costs": "costs of the backtest: `costs`, below",
    "confidence": "confidence level of intervals and verdicts",
    "ensembles": "rows of combined answers, for tasks that can combine them: `ensembles`, below",
    "shuffled": "number of random questions for a table that compares their primary metric with that of consecutive "
    "days; 0: no table ([evaluation.md](evaluation.md#consecutive-days-and-shuffled-samples))",
}
ENSEMBLE = {
    "name": "name of the row",
    "models": "stages whose models answer",
    "samples": "answers of each model to a question; a single one is the most likely answer, several are sampled",
    "temperature": "temperature of sampled answers",
    "by": "how the answers that can be read are combined",
}
COSTS = {
    "commission_bps": "commission in basis points of the traded value",
    "slippage_bps": "slippage in basis points of the traded value",
    "allow_short": "trade a negative position; otherwise it counts as 0",
}
LEADERBOARD = {
    **STAGE,
    "split": "split whose dates are played",
    "seed": "seed of the first episode, counted up from there; the recipe's `seed` does not change the episodes",
    "episodes": "number of episodes, the same ones for all agents",
    "rules": "strategies that play; buy and hold always does",
    "models": "training stages whose models play",
    "base": "whether the base model plays too",
    "max_new_tokens": "largest number of tokens of an answer",
    "batch_size": "number of episodes that are played at a time",
}
DEFAULTS = {
    ("split", "train"): "0.6",
    ("split", "validation"): "0.1",
    ("split", "test"): "0.3",
    ("split", "embargo"): "auto",
    ("stage", "name"): "the stage's kind",
    ("sft", "model"): "the last stage that trained a language model, or the base model",
    ("grpo", "model"): "the last stage that trained a language model, or the base model",
    ("reject", "model"): "the last stage that trained a language model, or the base model",
    ("ppo", "facts"): "the task's",
    ("evaluate", "models"): "all",
    ("evaluate", "tickers"): "all",
    ("leaderboard", "models"): "all",
    ("leaderboard", "rules"): "all",
    ("trade", "facts"): "all",
    ("task.env", "tickers"): "the level's",
    ("task.env", "days"): "the level's",
}
"""Defaults that a model fills in later, or that would be long to print."""
TYPES = {("split", "embargo"): "`auto` or integer >= 0", ("trade", "level"): "`Easy`, `Medium` or `Hard`"}
NOT_KEYS = {"stage", "source"}
"""Keys that select the table."""

TASK_CONFIGS = (RatingConfig, DirectionConfig, ThesisConfig, TradeConfig, ForecastConfig)
Table = tuple[str, str, type[BaseModel], dict[str, str]]
MARKETS: tuple[Table, ...] = (
    ("market", "`source: synthetic` (the default)", SyntheticConfig, SYNTHETIC),
    ("market", "`source: folder` (CSV) or `source: parquet`", FilesMarket, FILES),
    (
        "market",
        "`source: deepstock`",
        DeepStockMarket,
        {"path": "file of DeepStock rows: prices, news, financials and names", **CHECKED},
    ),
    (
        "market",
        "`source: windows`: [VTA's window files](forecast.md#vtas-window-files), for the task `forecast`",
        WindowsMarket,
        {"path": "a folder of files `STOCK_{train,test,full}_{x,y}.csv`"},
    ),
    ("market", "`source: sample`: five stocks, 2000 to 2013, from the `sample` extra", SampleMarket, REAL),
)
TASK_TABLES: tuple[Table, ...] = (
    ("rating", "`task: {name: rating}`", RatingConfig, RATING),
    ("outcome", "`task.outcome`", OutcomeConfig, OUTCOME),
    ("direction", "`task: {name: direction}`", DirectionConfig, DIRECTION),
    ("thesis", "`task: {name: thesis}`", ThesisConfig, THESIS),
    ("account", "`task.account`", AccountConfig, THESIS_ACCOUNT),
    ("trade", "`task: {name: trade}`", TradeConfig, TRADE),
    ("task.env", "`task.env`", EnvConfig, ENV),
    ("forecast", "`task: {name: forecast}`", ForecastConfig, FORECAST),
)
MODEL_TABLES: tuple[Table, ...] = (
    ("model", "`model`", ModelConfig, MODEL),
    ("tiny", "`model.tiny`", TinyConfig, TINY),
    ("lora", "`model.lora` (any other key of peft's LoraConfig is passed on)", LoraConfig, LORA),
)
STAGE_TABLES: tuple[Table, ...] = (
    ("sft", "`stage: sft`", SFTConfig, SFT),
    ("grpo", "`stage: grpo`", GRPOConfig, GRPO),
    ("reject", "`stage: reject`", RejectConfig, REJECT),
    ("teach", "`stage: teach` (the thesis task)", TeachConfig, TEACH),
    ("ppo", "`stage: ppo` (the trade task)", PPOConfig, PPO),
    ("evaluate", "`stage: evaluate` (tasks with metrics; the trade task has `leaderboard`)", EvaluateConfig, EVALUATE),
    ("costs", "`costs` of `evaluate`", Costs, COSTS),
    ("ensemble", "`ensembles` of `evaluate`", EnsembleConfig, ENSEMBLE),
    ("leaderboard", "`stage: leaderboard` (the trade task)", LeaderboardConfig, LEADERBOARD),
)
MORE = "Formulas, ranges, and what stops each from being gamed: [rewards.md](rewards.md)."
REWARD_LINES = {
    "profit": "position (rating / 2) x return above the market, in volatilities; -1 for an unreadable answer",
    "risk": "-`risk_aversion` / 2 x position^2",
    "decision": "Trading-R1's decision matrix: the rating against the label; -1.5 for an unreadable answer",
    "outcome": "Trading-R1's market outcome reward, by `task.outcome`; the largest loss for an unreadable answer",
    "format": "1 for a readable answer that begins with reasoning, else 0",
}
THESIS_REWARD_LINES = {
    "pnl": "log return of an account that follows the rating, in volatilities of its window",
    "risk_adjusted": "Sharpe or Sortino ratio of the account's days, at most 3 in size",
    "drawdown": "largest fall of the account from a peak, in volatilities of its window",
    "structure": "sections with headings, points, bold type and tables, at most 1",
    "evidence": "opinions with quotations and sources that stand in the prompt, at most 1",
    "verified": "share of the quotations that stand in the prompt",
    "agreement": "1 if the conclusion is on the side of the decision, else 0",
    "format": "1 for a readable thesis, else 0",
    "joint": "rewards of the market joined with the evidence, where `combine` is `gate` or `product`",
}
DIRECTION_REWARD_LINES = {
    "signal": "2 (p - b) (y - b), where p is the probability of UP, b the share of UP on the training dates, and y 1 "
    "for UP and 0 for DOWN; with `charge` it sums to how much better the Brier score is than that of b",
    "charge": "-(p - b)^2; its weight must equal that of `signal`",
    "log": "logarithm of the probability of what happened; a probability below 1 % counts as 1 %",
    "direction": "2.5 for the right direction",
    "magnitude": "2, 1.5, 1 for a relative error of the magnitude below .2, .5, 1, otherwise .5",
    "confidence": "1 + 1.5 c when right, -(.2 + 1.3 c) when wrong, where c is the confidence; not a proper score",
    "data_use": "3, 2, 1 for at least 5, 3, 1 data points of the prompt in the reasoning",
    "format": "1 for a readable answer that begins with reasoning, else 0",
}
SECTION_LINES = {
    "prices": "table of 15 days: open, high, low, close, volume",
    "indicators": "table of 15 days: RSI, stochastic, Williams %R, CCI, ADX, ROC, MACD histogram",
    "statistics": "minimum, maximum, median, mean, trend and autocorrelations of the last ten closes",
    "news": "news and tweets of the last 30 days by age (0-3, 4-10, 11-30 days: at most 10, 20, 20); a repeated text "
    "appears once",
    "market": "headlines about the market of the last 30 trading days, at most 10",
    "company": "the newest description of the company; not shown with `mask`",
    "fundamentals": "the two newest rows of the last 550 days",
    "insider": "insider trades of the last 90 days, at most 20 rows",
    "analyst": "analyst ratings of the last 90 days, at most 20 rows",
    "macro": "newest value of each series of the last two years and the one before it, at most 12 series",
    "volatility_index": "levels of the last 30 days, at most 5 rows",
}
FACT_LINES = {
    "stock": "the ticker, or its masked name",
    "date": "the date, or its masked count of days",
    "market": "latest headline about the market in 30 trading days",
    "news": "latest headline about the company in five trading days",
    "strength": "return of ten days above the market's, in volatilities",
    "rsi": "RSI(14)",
    "trend": "close over its 50-day mean, %",
    "momentum": "return of ten days, %",
    "macd": "MACD histogram, % of the close",
    "stochastic": "stochastic %K",
    "williams": "Williams %R(14)",
    "cci": "CCI(20)",
    "adx": "ADX(14)",
    "bollinger": "position between the Bollinger bands, %",
    "atr": "ATR(14), % of the close",
    "volatility": "daily volatility over 20 days, %",
    "sma": "close over its 20-day mean, %",
    "ema": "close over its 20-day exponential mean, %",
    "mom": "change of price over ten days, % of the close",
    "stochastic_d": "stochastic %D",
    "macd_line": "MACD line, % of the close",
    "macd_signal": "MACD signal line, % of the close",
    "direction": "+DI less -DI",
    "bands": "width of the Bollinger bands, % of their middle",
    "volume": "volume over its mean of 20 days",
}
FACT_WORDS = {
    "stock": "-",
    "date": "-",
    "market": "trending, choppy, unclear",
    "news": "good, mixed, bad, none",
}
TRADE_FACT_LINES = {
    "change_1": "return of the last day, %",
    "change_5": "return of the last five days, %",
    "rsi_14": "RSI(14)",
    "macd_hist": "MACD histogram, % of the price",
    "from_sma_50": "distance from the 50-day mean, %",
    "in_bands": "position between the Bollinger bands (0 lower, 100 upper)",
    "volatility_20": "daily volatility over 20 days, %",
    "volume_ratio_20": "volume over its mean of 20 days",
}


def page() -> str:
    """The text of the page."""
    assert set(TASKS) == {"rating", "direction", "thesis", "trade", "forecast"}
    return "\n".join([*_page(), ""])


def _page() -> Iterator[str]:
    yield from (
        "# Recipe keys",
        "",
        "<!-- Written by: PYTHONPATH=.:tests python tests/docs_recipes.py -->",
        "",
        "Examples are in `recipes/`. `--set section.key=value` changes a key, `--set stages.NAME.key=value` a key of "
        "a stage.",
        "Unknown keys are refused. The recipe of `tradeschool leaderboard` has other sections",
        "([leaderboard.md](leaderboard.md#the-recipe)). `name`, `task`, `model` and `stages` are required. Words with "
        "a special",
        "meaning are in the [glossary](glossary.md).",
        "",
        "| section | content |",
        "|---|---|",
        "| `name` | letters, digits, `_` and `-`, starting with a letter |",
        "| `seed` | integer >= 0, default 0: seed of the training (first weights, data, sampling). The market, "
        "the evaluation and the leaderboard have seeds of their own |",
        "| `market` | [where prices come from](#market) |",
        "| `split` | [train, validation and test dates](#split) |",
        "| `task` | [what the model is asked](#task), or [custom](extending.md): `{name: package.module:Class}` |",
        "| `model` | [the base model](#model) |",
        "| `stages` | a list of [stages](#stages), run in order |",
        "",
        "## market",
        "`source` can be left out where `path` is given: it follows from the files.",
    )
    yield from _tables(MARKETS)
    yield from ("", "## split", "Give three shares that sum to 1, or the dates `validation_from` and `test_from`.")
    yield from _table("split", SplitConfig, SPLIT)
    yield from ("", "## task")
    yield from _tables(TASK_TABLES)
    yield from (
        "",
        "### Facts of the rating task",
        "",
        "| fact | content | words, lowest value first |",
        "|---|---|---|",
    )
    for name in FACTS:
        words = ", ".join(NUMBERS[name].words) if name in NUMBERS else FACT_WORDS[name]
        yield f"| `{name}` | {FACT_LINES[name]} | {words} |"
    assert set(REWARD_LINES) == set(COMPONENTS)
    yield from ("", "### Reward components of the rating task", "", MORE, "", "| component | meaning |", "|---|---|")
    yield from (f"| `{name}` | {line} |" for name, line in REWARD_LINES.items())
    assert set(DIRECTION_REWARD_LINES) == set(DIRECTION_COMPONENTS)
    yield from ("", "### Reward components of the direction task", "", "| component | meaning |", "|---|---|")
    yield from (f"| `{name}` | {line} |" for name, line in DIRECTION_REWARD_LINES.items())
    assert set(THESIS_REWARD_LINES) == {*ACCOUNT, *TEXT, JOINT}
    also = "`profit`, `risk`, `decision` and `outcome` of the rating task, and:"
    yield from ("", "### Reward components of the thesis task", "", MORE, "", also)
    yield from ("", "| component | meaning |", "|---|---|")
    yield from (f"| `{name}` | {line} |" for name, line in THESIS_REWARD_LINES.items())
    yield from ("", "### Sections of the rating task", "", "| section | content |", "|---|---|")
    yield from (f"| `{name}` | {SECTION_LINES[name]} |" for name in SECTIONS)
    yield from ("", "### Facts of the trade task", "", "| fact | label | content |", "|---|---|---|")
    labels = {fact.name: fact.label for fact in MARKET}
    yield from (f"| `{name}` | {labels[name]} | {TRADE_FACT_LINES[name]} |" for name in TRADE_FACTS)
    yield from ("", "## model")
    yield from _tables(MODEL_TABLES)
    yield from ("", "## stages")
    yield from _tables(STAGE_TABLES)


def _tables(tables: tuple[Table, ...]) -> Iterator[str]:
    for key, title, cls, lines in tables:
        yield from ("", f"### {title}")
        yield from _table(key, cls, lines)


def _table(key: str, cls: type[BaseModel], lines: dict[str, str]) -> Iterator[str]:
    hidden = NOT_KEYS | ({"name"} if cls in TASK_CONFIGS else set())
    hidden |= {"observation"} if cls is EnvConfig else set()
    hidden |= {"trl"} if "trl" not in lines else set()
    known = set(cls.model_fields) - hidden
    assert known == set(lines), f"{cls.__module__}: {known ^ set(lines)}"
    yield from ("", "| key | type | default | meaning |", "|---|---|---|---|")
    for name, line in lines.items():
        field = cls.model_fields[name]
        yield f"| `{name}` | {_type(key, name, field)} | {_default(key, name, field)} | {line} |"


def _type(key: str, name: str, field: FieldInfo) -> str:
    return TYPES.get((key, name)) or _words(field.annotation) + _limits(field.metadata)


def _words(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _words(arguments[0])
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(_words(one) for one in arguments if one is not type(None))
    if origin is list:
        return f"list of {_words(arguments[0])}s"
    if origin is tuple:
        return f"list of {len(arguments)} {_words(arguments[0])}s"
    if origin is dict or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return "mapping"
    return "date" if annotation is datetime.date else NAMES[annotation]


def _limits(metadata: Any) -> str:
    found = [(sign, getattr(one, key)) for one in metadata for key, sign in LIMITS.items() if hasattr(one, key)]
    return " and".join(f" {sign} {_limit(value)}" for sign, value in found)


def _limit(value: float) -> str:
    if value == 2**32:
        return "2^32"
    return f"{value:,}" if isinstance(value, int) and value >= 1_000_000 else f"{value:g}"


def _default(key: str, name: str, field: FieldInfo) -> str:
    if name == "name" and key != "ensemble":
        return DEFAULTS[("stage", "name")]
    if (key, name) in DEFAULTS:
        return DEFAULTS[(key, name)]
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return "none" if value is None else "see below" if isinstance(value, BaseModel) else f"`{_yaml(value)}`"


def _yaml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_yaml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_yaml(inner)}' for key, inner in value.items())}}}"
    return f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
