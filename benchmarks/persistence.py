"""Repeating the last close on StockNet, with the scaler and the split of VTA's published pipeline.

    .venv/bin/python benchmarks/persistence.py PATH

PATH is the StockNet folder that holds ``price/``. A public audit of VTA (arXiv 2511.08616) found MSE .0631 and
MAE .1649 for this forecast over its 88 stocks, better than the paper's own model. VTA's code (its data loader and
run.py) says: adjusted closes, 70/10/20 of each file's rows, a scaler per stock fitted on its training rows (std with
ddof 0), ten closes in and ten out at every step of the test rows, the inputs of the first ones from before the border,
and the mean over stocks of each stock's error. Unadjusted closes and the pooled error are printed as well.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from tradeschool.errors import TradeschoolError
from tradeschool.market.load import load_prices
from tradeschool.market.panel import Floats, Panel
from tradeschool.market.windows import WindowConfig, make_windows

PERSISTENCE = (0.0631, 0.1649)
"""MSE and MAE of repeating the last value over 88 stocks, as the audit found them."""
VTA = (0.0659, 0.1701)
"""MSE and MAE that VTA publishes for its model on StockNet."""
STOCKS = 88


def panels(folder: Path) -> dict[str, Panel]:
    """StockNet's prices adjusted, as the Adj Close column has them, and as they were traded."""
    messages: list[str] = []
    with tempfile.TemporaryDirectory() as raw:
        for path in sorted(folder.glob("*.csv")):
            pd.read_csv(path, dtype=str).drop(columns="Adj Close").to_csv(Path(raw) / path.name, index=False)
        return {"Adj Close": load_prices(folder, messages), "Close": load_prices(raw, messages)}


def errors(panel: Panel, config: WindowConfig) -> tuple[Floats, Floats, Floats, int]:
    """Per stock: MSE, MAE and the number of test windows of repeating the last value; windows lost to gaps."""
    found, gaps = [], 0
    for n in range(len(panel.tickers)):
        test = make_windows(panel, n, config).only("test")
        gaps += test.left_out["gap"]
        off_WH = test.y_WH - test.columns["sequence"][:, -1:]
        found.append((float((off_WH**2).mean()), float(np.abs(off_WH).mean()), float(len(test))))
    mse_S, mae_S, count_S = np.array(found).T
    return mse_S, mae_S, count_S, gaps


def main(path: str) -> None:
    rows: list[tuple[str, float, float, str]] = []
    config = WindowConfig(incomplete="keep")
    for close, panel in panels(Path(path) / "price").items():
        mse_S, mae_S, count_S, gaps = errors(panel, config)
        label, spread = f"{close:10}", mse_S.std(ddof=1) / np.sqrt(len(mse_S))
        mse, mae = (float(np.average(values_S, weights=count_S)) for values_S in (mse_S, mae_S))
        lost = f"{count_S.sum():,.0f} windows; {gaps} of all parts left out: a bar is missing inside"
        rows.append((f"{label}mean over stocks", mse_S.mean(), mae_S.mean(), f"standard error of MSE {spread:.4f}"))
        rows.append((f"{label}pooled windows", mse, mae, lost))
    print(f"Repeating the last of 10 scaled closes for the next 10, test part, {len(mse_S)} stocks of StockNet\n")
    print(f"{'close':10}{'average':42}{'MSE':>8}{'MAE':>8}{'off MSE':>10}{'off MAE':>9}")
    for name, mse, mae, note in rows:
        off = [f"{value / target - 1:+.1%}" for value, target in zip((mse, mae), PERSISTENCE, strict=True)]
        print(f"{name:52}{mse:8.4f}{mae:8.4f}{off[0]:>10}{off[1]:>9}  {note}")
    print(f"{f'published: audit of this forecast, {STOCKS} stocks':52}{PERSISTENCE[0]:8.4f}{PERSISTENCE[1]:8.4f}")
    print(f"{f'published: VTA, the trained model, {STOCKS} stocks':52}{VTA[0]:8.4f}{VTA[1]:8.4f}")
    nearest = min(rows, key=lambda row: sum(abs(v / p - 1) for v, p in zip(row[1:3], PERSISTENCE, strict=True)))
    print(f"\nClosest to the audit: {' '.join(nearest[0].split())}.")


if __name__ == "__main__":
    if len(sys.argv) != 2 or not (Path(sys.argv[1]) / "price").is_dir():
        sys.exit("Give the StockNet folder, the one that holds price/: benchmarks/persistence.py PATH")
    try:
        main(sys.argv[1])
    except TradeschoolError as error:
        sys.exit(str(error))
