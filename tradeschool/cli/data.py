"""The commands on market data: ``prepare``, and below ``data`` those that fetch, check and describe it."""

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tradeschool.cli.options import (
    Accept,
    AcceptSplits,
    Exchange,
    LeaveOut,
    NewFolder,
    Sets,
    Source,
    price_options,
    say,
)
from tradeschool.errors import RecipeError

if TYPE_CHECKING:
    from tradeschool.config.recipe import Recipe
    from tradeschool.market.findings import Finding

data = typer.Typer(no_args_is_help=True, help="Fetch market data and look at it.")
SHOWN_PER_KIND = 5
_STYLES = {"error": "bold red", "warning": "yellow", "info": "dim"}


@data.command()
def fetch(
    tickers: Annotated[list[str], typer.Argument(help="Yahoo's tickers, separated by spaces: AAPL BRK-B RELIANCE.NS")],
    first: Annotated[str, typer.Option("--from", metavar="DAY", help="First day, YYYY-MM-DD.")],
    end: Annotated[str, typer.Option("--to", metavar="DAY", help="The day after the last, YYYY-MM-DD.")],
    out: NewFolder,
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Keep what was found, even if tickers or days are missing.")
    ] = False,
) -> None:
    """Download daily bars from Yahoo Finance into a folder that every command reads, with a manifest of its origin.

    Example:

      tradeschool data fetch AAPL MSFT --from 2015-01-01 --to 2020-01-01 --out prices/
    """
    from tradeschool.market import yahoo

    console = Console()
    got = yahoo.fetch(tickers, first, end, out, allow_partial=allow_partial, console=console)
    _print_panel(console, got.panel)
    if not got.manifest["complete"]:
        console.print("Some of the request is missing; manifest.json lists it.", style="yellow")
    say(console, f"Wrote {got.path}. Check it: tradeschool data check {got.path}")


@data.command()
def check(
    path: Annotated[Path, typer.Argument(help="Prices: a CSV or parquet file or a folder of them. Events: one file.")],
    exchange: Exchange = None,
    accept_splits: AcceptSplits = False,
    accept: Accept = None,
    leave_out: LeaveOut = False,
    everything: Annotated[bool, typer.Option("--all", help="Print every finding, not five of each kind.")] = False,
    out: Annotated[Path | None, typer.Option("--csv", help="Write every finding to this file.")] = None,
) -> None:
    """Read files of prices or events, list what is wrong by file and row, and show what is in them.

    Examples:

      tradeschool data check prices/

      tradeschool data check prices/ --exchange NYSE

      tradeschool data check prices/ --accept 'ABC 2016-01-04' --csv findings.csv

      tradeschool data check tweets.parquet
    """
    from tradeschool.market.events.deepstock import is_deepstock_file
    from tradeschool.market.events.read import holds_events, read_events
    from tradeschool.market.findings import has_errors
    from tradeschool.market.load import check_prices, load_prices

    console = Console()
    every = everything or out is not None
    events = read_events(path, every=every) if holds_events(path) else None
    options = price_options(accept, accept_splits, leave_out)
    has_prices = events is None or is_deepstock_file(path)
    findings = check_prices(path, exchange, every=every, **options) if has_prices else []
    if events is not None:  # DeepStock's rows are read twice, and what is wrong with a row is said once
        findings = list(dict.fromkeys([*findings, *events.findings]))
    print_findings(console, findings, len(findings) if everything else SHOWN_PER_KIND)
    if out is not None:
        _write_findings(out, findings)
        say(console, f"Wrote {out}: every finding, one a row.")
    if has_errors(findings):
        raise typer.Exit(2)
    if has_prices:
        _print_panel(console, load_prices(path, messages=[], **options))
    if events is not None:
        _print_events(console, events.events, path.name)
    warnings = sum(finding.count for finding in findings if finding.severity == "warning")
    console.print(
        "OK: this data can be loaded" + (f", with {warnings:,} warning{'s' * (warnings > 1)}." if warnings else ".")
    )


@data.command()
def describe(
    source: Source,
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("overview.html"),
    exchange: Exchange = None,
    sets: Sets = None,
) -> None:
    """Show what is in a market: bars, events, the labels of each split, and how each feature relates to the outcome.

    Prints tables and writes a page with charts. Without a recipe it uses market, split and task of recipes/stocks.yaml,
    or of recipes/demo.yaml for the word synthetic.

    Examples:

      tradeschool data describe prices/ --out overview.html --exchange NYSE

      tradeschool data describe sample --set task.horizons=[1] --set split.warmup=60

      tradeschool data describe recipes/stocks.yaml
    """
    from tradeschool.config.recipe import load_panel, make_task, recipe_from_source
    from tradeschool.errors import DataError
    from tradeschool.prepare.coverage import make_overview
    from tradeschool.prepare.overview import print_overview, write_overview
    from tradeschool.progress import status

    console = Console()
    recipe = recipe_from_source(source, sets or ())
    panel = load_panel(recipe, console)
    task, problem = None, None
    try:
        task = make_task(recipe, panel)
    except DataError as error:
        problem = f"No parts, labels or features: {error}"
    with status(console, "Analysing the market"):
        horizons = getattr(recipe.task, "horizons", [5])
        seen = make_overview(panel, task, horizons=horizons, exchange=exchange, problem=problem)
        write_overview(out, seen)
    print_overview(console, seen)
    say(console, f"Page: {out}")


def print_findings(console: Console, findings: "Sequence[Finding]", most: int) -> None:
    """Print at most ``most`` findings of each kind, how many there are, and a line with the totals."""
    seen: Counter[tuple[str, str]] = Counter()
    totals: Counter[str] = Counter()
    files: dict[tuple[str, str], set[str]] = {}
    for finding in findings:
        key = (finding.severity, finding.kind)
        seen[key] += finding.count
        totals[finding.severity] += finding.count
        files.setdefault(key, set()).add(finding.file)
        if seen[key] <= most:
            row = "" if finding.row is None else f", row {finding.row}"
            where = f"{Path(finding.file).name}{row}{f', {finding.day}' if finding.day else ''}"
            # Text, not markup: a value may hold square brackets.
            console.print(Text.assemble((finding.severity, _STYLES[finding.severity]), f" {where}"))
            for text in (f"{finding.rule}{f': {finding.value}' if finding.value else ''}", finding.cure):
                console.print(Padding(Text(text), (0, 0, 0, 2)))
    cut = {key: count for key, count in seen.items() if count > most}
    for (severity, kind), count in cut.items():
        held = len(files[severity, kind])
        console.print(Text(f"{kind}: {count:,} in {held} file{'s' * (held > 1)}, of which {most} are shown"))
    if cut:
        console.print("See every finding: --all prints them, --csv FILE writes them.")
    console.print(", ".join(f"{totals[name]:,} {name}{'s' * (totals[name] != 1)}" for name in _STYLES))


def _write_findings(path: Path, findings: "Sequence[Finding]") -> None:
    from tradeschool.errors import DataError

    columns = ("severity", "kind", "file", "row", "ticker", "day", "rule", "value", "cure")
    if path.exists() and not (path.is_file() and path.read_bytes().startswith(",".join(columns).encode())):
        raise DataError(f"{path} is there already and holds no findings. Give another file with --csv.")
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows([getattr(finding, name) for name in columns] for finding in findings)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}. Give another file.") from error


def _print_events(console: Console, events: list[Any], name: str) -> None:
    """A row per kind."""
    from tradeschool.prepare.coverage import event_kinds

    table = Table("kind", "first known", "last known", title=Text(name))
    for heading in ("events", "tickers"):
        table.add_column(heading, justify="right")
    for kind in event_kinds(events):
        table.add_row(kind.kind, kind.first, kind.last, f"{kind.count:,}", str(kind.tickers or "the market"))
    console.print(table)


def _print_panel(console: Console, panel: Any) -> None:
    """A row per ticker, then a line with the totals."""
    from tradeschool.prepare.coverage import ticker_coverage

    table = Table("ticker", "first day", "last day", title=Text(panel.name))
    for heading in ("bars", "missing days", "last close"):
        table.add_column(heading, justify="right")
    for n, found in enumerate(ticker_coverage(panel)):
        close = panel.traded_close_TN[found.runs[-1][1], n]
        table.add_row(Text(found.ticker), found.first, found.last, str(found.bars), str(found.missing), f"{close:g}")
    console.print(table)
    dates, tickers = panel.shape
    size = f"{tickers} tickers, {dates} dates, {panel.bars_per_year} bars a year, {len(panel.events)} events"
    say(console, f"{size}. Data hash {panel.data_hash()}.")


# prepare ------------------------------------------------------------------------------------------


WINDOWS_SPLIT = {"train": 0.7, "validation": 0.1, "test": 0.2}
"""The published split of the CSV layout, used where no recipe gives one."""
ANSWERS = 7_000
"""The published number of training answers in demonstration episodes, used where no sft stage gives one."""


def prepare(
    source: Source,
    out: NewFolder,
    form: Annotated[
        Literal["prompts", "csv"],
        typer.Option("--format", help="prompts: a Hugging Face dataset. csv: windows for forecasting, per stock."),
    ] = "prompts",
    sets: Sets = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; by default one for each CPU.")] = None,
    answers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="For demonstration episodes: write until they hold this many training answers. By default the "
            f"'examples' of the recipe's last sft stage, or {ANSWERS:,}.",
        ),
    ] = None,
) -> None:
    r"""Write a task's prompts and answers as a dataset, or a market as CSV windows for forecasting.

    For a task of trading episodes, the conversations of its demonstrators are written: those that the recipe's last sft
    stage trains on. Without a recipe, prompts use market, split and task of recipes/stocks.yaml, or of
    recipes/demo.yaml for the word synthetic.

    The same recipe on the same data gives the same bytes. After an interruption, give the same command again.

    Examples:

      tradeschool prepare recipes/stocks.yaml --set market.path=prices/ --out prepared/

      tradeschool prepare prices/ --set task.sections=\[prices,news] --set task.variants=20 --out prepared/

      tradeschool prepare recipes/episodes.yaml --answers 2000 --out episodes/

      tradeschool prepare prices/ --format csv --out windows/
    """
    from tradeschool.config.recipe import recipe_from_source

    console = Console()
    try:
        if form == "prompts":
            _prompts(console, recipe_from_source(source, sets or ()), out, workers, answers)
        elif answers is not None:
            raise RecipeError(
                "--answers is for demonstration episodes, and --format csv writes none. Remove one of the two."
            )
        else:
            _windows(console, recipe_from_source(source, sets or (), split=dict(WINDOWS_SPLIT)), out)
    except KeyboardInterrupt as error:
        error.add_note("Give the same command again to continue.")
        raise


def _prompts(console: Console, recipe: "Recipe", out: Path, workers: int | None, answers: int | None) -> None:
    from tradeschool.config.recipe import load_panel, make_task
    from tradeschool.prepare.export import identity, write_demonstrations, write_prompts
    from tradeschool.train.curriculum import CurriculumConfig, select_examples

    panel = load_panel(recipe, console)
    task = make_task(recipe, panel)
    parts = {key: recipe.resolved[key] for key in ("seed", "market", "split", "task")}
    if task.episodic:
        stage = next((stage for stage in reversed(recipe.stages) if stage.stage == "sft"), None)
        wanted = answers or (stage.examples if stage else ANSWERS)
        own = stage.model_dump(mode="json", include={"turns", *CurriculumConfig.model_fields}) if stage else {}
        made_from = identity("conversations", {**parts, **own, "answers": wanted}, panel, task.version)
        pool = select_examples(task, stage, panel, seed=recipe.seed, log=console.print) if stage else None
        turns = stage.turns if stage else None
        count = write_demonstrations(task, made_from, out, console, wanted, recipe.seed, pool, turns)
        written = f"{count:,} demonstration episodes with at least {wanted:,} training answers"
    elif answers is not None:
        raise RecipeError(
            f"--answers counts demonstrations, and the task '{task.name}' has none. Remove it, or give a recipe with "
            "task: {name: trade}."
        )
    else:
        prompts = write_prompts(task, identity("prompts", parts, panel, task.version), out, console, workers)
        written = ", ".join(f"{count:,} {split}" for split, count in prompts.items()) + " prompts"
    say(console, f"Wrote {written} to {out}. Load them with: datasets.load_dataset('{out}')")


def _windows(console: Console, recipe: "Recipe", out: Path) -> None:
    from tradeschool.config.recipe import load_panel
    from tradeschool.prepare.export import identity, window_config, write_windows

    config = window_config(recipe.split)
    panel = load_panel(recipe, console)
    parts = {"market": recipe.resolved["market"], "series": config.model_dump(mode="json")}
    written = write_windows(panel, config, identity("csv", parts, panel), out, console)
    for ticker, reason in written.left_out.items():
        say(console, f"Skipped {ticker}: {reason}")
    if written.overlap:
        say(
            console,
            "Note: the splits are shares of each ticker's own bars, so one ticker's train file may overlap "
            "in time with another's test file. To train on several together, give dates: "
            "--set 'split={validation_from: 2015-01-01, test_from: 2016-01-01}'.",
        )
    count = sum(written.windows.values())
    say(console, f"Wrote {count:,} windows of {len(written.windows)} tickers to {out}.")
