"""``tradeschool judge``: compare decisions from a CSV file with the baselines."""

from pathlib import Path
from typing import Annotated

import typer

DecisionsFile = Annotated[
    Path, typer.Argument(help="CSV with the columns date, ticker, and rating or position.", metavar="DECISIONS.csv")
]
Prices = Annotated[Path, typer.Option("--prices", help="Folder or file of daily prices.")]
ReportFile = Annotated[
    Path | None,
    typer.Option(
        "--report",
        help="HTML file to write, with the figures as JSON beside it. By default beside the CSV. Earlier ones of this "
        "command are replaced, other files never.",
        metavar="PATH",
    ),
]
TrainedUntil = Annotated[
    str | None,
    typer.Option("--trained-until", metavar="DATE", help="Last date used in training. Dates up to it are warned of."),
]
Short = Annotated[
    bool, typer.Option("--short/--no-short", help="Whether negative positions are traded; otherwise they count as 0.")
]
RiskAversion = Annotated[
    float, typer.Option("--risk-aversion", help="Charge for risk in the score: this / 2 x position^2.", min=0)
]
Horizon = Annotated[int, typer.Option("--horizon", help="Days over which the score measures returns.", min=1)]
Confidence = Annotated[float, typer.Option(help="Confidence level of the intervals and of the verdict.")]


def judge(
    decisions: DecisionsFile,
    prices: Prices,
    report: ReportFile = None,
    name: Annotated[str, typer.Option("--name", help="Name of the decisions in tables.")] = "decisions",
    trained_until: TrainedUntil = None,
    commission: Annotated[float, typer.Option("--commission", help="Basis points of the traded amount.")] = 1.0,
    slippage: Annotated[float, typer.Option("--slippage", help="Basis points of the traded amount.")] = 5.0,
    short: Short = True,
    risk_aversion: RiskAversion = 0.02,
    horizon: Horizon = 1,
    confidence: Confidence = 0.95,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the random baseline.")] = 0,
) -> None:
    """Compare trading decisions from a CSV file with the baselines, as trained models are compared.

    A decision is made after the close of its date and filled at the next open. A rating is STRONG_SELL, SELL, HOLD,
    BUY or STRONG_BUY; a position is a number from -1 to 1. See docs/evaluation.md.

    Example:

      tradeschool judge decisions.csv --prices prices/ --trained-until 2023-12-31
    """
    from rich.console import Console
    from rich.markup import escape

    from tradeschool.evaluate.console import print_comparison
    from tradeschool.evaluate.judge import evaluate_decisions
    from tradeschool.progress import status

    path = report or decisions.with_suffix(".html")
    console = Console()
    with status(console, "Comparing the decisions with the baselines"):
        comparison = evaluate_decisions(
            decisions,
            prices,
            name=name,
            commission_bps=commission,
            slippage_bps=slippage,
            allow_short=short,
            risk_aversion=risk_aversion,
            horizon=horizon,
            trained_until=trained_until,
            seed=seed,
            confidence=confidence,
            report=path,
        )
    print_comparison(console, comparison)
    console.print(f"Score: {comparison.evaluation.score}.", soft_wrap=True, highlight=False)
    console.print(f"Report: {escape(str(path))}", soft_wrap=True, highlight=False)
    console.print(f"Figures: {escape(str(path.with_suffix('.json')))}", soft_wrap=True, highlight=False)
