"""A file of DeepStock rows, enough of them to train on."""

import json
from pathlib import Path

import numpy as np

from tradeschool.market.panel import Panel

MONTHS = np.timedelta64(100, "D")


def write_rows(path: Path, panel: Panel) -> Path:
    """A row for every bar of a panel: its prices, headlines, and the financials of the year before."""
    lines = []
    for t, day in enumerate(panel.dates_T.astype("datetime64[D]")):
        for n, ticker in enumerate(panel.tickers):
            year = str(day - MONTHS)[:4]
            price = {"price_date": str(day), "open": panel.open_TN[t, n], "close": panel.close_TN[t, n]}
            if t:
                before = str(panel.dates_T[t - 1].astype("datetime64[D]"))
                price |= {"previous_date": before, "open_previous": panel.open_TN[t - 1, n]}
                price |= {"close_previous": panel.close_TN[t - 1, n]}
            headlines = [f"{ticker} in the news on {day}"] if t % 3 == 0 else []
            info = {
                "current_date": str(day),
                "company_info": {"name": f"{ticker.title()} Motor Company", "description": f"{ticker} makes cars."},
                "news": {"news_headlines": headlines, "news_date": str(day)},
                "financials": {"year": int(year), "financials": json.dumps({"Total Revenue": 1e9 + n, "EPS": 2 + n})},
                "price": price,
            }
            lines.append(json.dumps({"ticker": ticker, "company_info": info}))
    path.write_text("\n".join(lines))
    return path
