"""What the network of the numeric agent is given and what it cannot tell apart."""

from typing import Any

import numpy as np
import pytest
import torch

from tradeschool.env import facts
from tradeschool.env.config import EnvConfig
from tradeschool.env.spaces import action_space, observation_space
from tradeschool.policies.numeric import FARTHEST, USUAL, StockFeatures, StockPolicy, network_options

UNKNOWABLE = [fact.name for fact in facts.MARKET if fact.low == facts.UNKNOWN]
WIDTH = facts.PER_STOCK + len(UNKNOWABLE) + facts.M + facts.G


def config(stocks: int) -> EnvConfig:
    return EnvConfig(tickers=stocks, observation="numeric")


def features(vectors: np.ndarray, stocks: int, **options: Any) -> np.ndarray:
    space: Any = observation_space(config(stocks), ())
    extractor = StockFeatures(space, **options)
    return extractor(torch.tensor(vectors, dtype=torch.float32)).numpy().reshape(len(vectors), stocks, -1)


def usual(stocks: int) -> np.ndarray:
    named = [name.partition(":")[2] or name for name in facts.names(stocks)]
    return np.array([[USUAL[name][0] for name in named]])


def policy(stocks: int, read: list[str] | None = None) -> StockPolicy:
    torch.manual_seed(0)
    options = network_options({}, read)
    return StockPolicy(observation_space(config(stocks), ()), action_space(config(stocks)), lambda _: 0.001, **options)


def noticed(net: StockPolicy, stocks: int) -> set[str]:
    """The columns of the vector that some answer hangs on."""
    usually = usual(stocks).astype(np.float32)
    before = [net.predict(usually, deterministic=True)[0], net.predict_values(torch.tensor(usually)).detach().numpy()]
    found = set()
    for at, name in enumerate(facts.names(stocks)):
        changed = usually.copy()
        changed[0, at] += 3 * USUAL[name.partition(":")[2] or name][1]
        after = [
            net.predict(changed, deterministic=True)[0],
            net.predict_values(torch.tensor(changed)).detach().numpy(),
        ]
        if any(not np.array_equal(*pair) for pair in zip(before, after, strict=True)):
            found.add(name)
    return found


@pytest.mark.parametrize("stocks", [1, 3])
@pytest.mark.parametrize("read", [None, [], ["rsi_14"], ["macd_hist", "change_5", "rsi_14"]])
def test_exactly_the_facts_that_are_named_are_read_with_the_account_and_the_holdings(
    stocks: int, read: list[str] | None
) -> None:
    named = set(facts.names(1) if read is None else [f"0:{name}" for name in (*read, "traded", "share", "gain")])
    of_stocks = {f"{n}:{name[2:]}" for name in named if name.startswith("0:") for n in range(stocks)}
    assert noticed(policy(stocks, read), stocks) == of_stocks | {"cash", "equity", "days_left", "refused"}


@pytest.mark.parametrize("stocks", [1, 3])
def test_all_facts_are_what_no_choice_is_whatever_their_order(stocks: int) -> None:
    every = [fact.name for fact in facts.MARKET[1:]][::-1]
    nets = [policy(stocks), policy(stocks, every)]
    states = [net.state_dict() for net in nets]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    vectors = usual(stocks).astype(np.float32) + 3
    assert np.array_equal(*[net.predict(vectors, deterministic=True)[0] for net in nets])


def test_a_fact_that_is_not_read_has_no_flag_and_no_mean() -> None:
    vectors = usual(2)
    vectors[0, [1, 3]] = facts.UNKNOWN
    found = features(vectors, 2, facts=["rsi_14"])
    # Traded, RSI, share, gain; whether RSI is unknown; the means of the first two; the account.
    assert found.shape == (1, 2, 4 + 1 + 2 + facts.G)
    assert found[0, :, 4].tolist() == [1.0, 0.0]


def test_a_fact_that_there_is_not_is_refused_and_so_are_two_choices() -> None:
    with pytest.raises(ValueError, match=r"has 'rsi_41', but facts are .*Did you mean 'rsi_14'"):
        network_options({}, ["rsi_41"])
    with pytest.raises(ValueError, match="Did you mean 'rsi_14'"):
        features(usual(1), 1, facts=["rsi_41"])
    with pytest.raises(ValueError, match="Remove one of the two"):
        network_options({"features_extractor_kwargs": {"facts": ["rsi_14"]}}, ["rsi_14"])


def test_every_fact_has_a_scale_and_no_other_name() -> None:
    assert set(USUAL) == {fact.name for fact in (*facts.MARKET, *facts.HOLDING, *facts.ACCOUNT)}
    assert all(scale > 0 for _, scale in USUAL.values())


@pytest.mark.parametrize("stocks", [1, 3])
def test_a_usual_figure_is_nought_and_a_wild_one_is_cut_off(stocks: int) -> None:
    vectors = np.repeat(usual(stocks), 2, axis=0)
    vectors[1, 3] = 100.0
    vectors[1, 1] = 900.0
    found = features(vectors, stocks)
    assert found.shape == (2, stocks, WIDTH)
    assert not found[0].any()
    assert found[1, 0, 1] == FARTHEST
    assert found[1, 0, 3] == pytest.approx((100 - USUAL["rsi_14"][0]) / USUAL["rsi_14"][1])


def test_an_unknown_figure_is_a_usual_one_with_a_flag() -> None:
    vectors = usual(2)
    vectors[0, [1, 3]] = facts.UNKNOWN
    found = features(vectors, 2)
    flags = found[0, :, facts.PER_STOCK : facts.PER_STOCK + len(UNKNOWABLE)]
    assert flags[0].nonzero()[0].tolist() == [0, 2]
    assert not flags[1].any()
    assert not found[0, :, : facts.PER_STOCK].any()


def test_a_holding_at_minus_a_hundred_percent_is_not_unknown() -> None:
    vectors = usual(1)
    vectors[0, facts.M] = facts.UNKNOWN
    found = features(vectors, 1)
    assert found[0, 0, facts.M] == -1.0
    assert not found[0, 0, facts.PER_STOCK : facts.PER_STOCK + len(UNKNOWABLE)].any()


def test_stocks_in_another_order_get_the_same_orders_in_that_order() -> None:
    stocks, rng = 4, np.random.default_rng(0)
    net = policy(stocks)
    with torch.no_grad():
        for weights in net.parameters():
            weights += 0.1 * torch.randn_like(weights)
    vectors = usual(stocks) + rng.normal(0, 20, (3, stocks * facts.PER_STOCK + facts.G))
    order = np.array([2, 0, 3, 1])
    parts = vectors[:, : -facts.G].reshape(3, stocks, -1)[:, order].reshape(3, -1)
    other = np.concatenate([parts, vectors[:, -facts.G :]], axis=1)
    orders, moved = (net.predict(one.astype(np.float32), deterministic=True)[0] for one in (vectors, other))
    np.testing.assert_allclose(moved, orders[:, order], atol=1e-5)
    assert np.ptp(orders, axis=1).max() > 0.01
    values = [net.predict_values(torch.tensor(one, dtype=torch.float32)) for one in (vectors, other)]
    torch.testing.assert_close(values[0], values[1], atol=1e-4, rtol=1e-4)


def test_what_happens_to_one_stock_matters_to_the_others() -> None:
    net = policy(3)
    vectors = np.repeat(usual(3), 2, axis=0).astype(np.float32)
    vectors[1, 3] = 90.0
    orders = net.predict(vectors, deterministic=True)[0]
    assert orders[0, 2] != orders[1, 2]


def test_everything_that_is_learned_is_optimized() -> None:
    net = policy(2)
    optimized = {id(weights) for group in net.optimizer.param_groups for weights in group["params"]}
    assert optimized == {id(weights) for weights in net.parameters()}
    assert {name.split(".")[0] for name, _ in net.named_parameters()} == {
        "log_std",
        "mlp_extractor",
        "action_net",
        "value_net",
    }
