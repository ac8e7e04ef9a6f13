"""The overview as one HTML file, in the look of the report: no scripts, nothing from outside, all text escaped."""

from pathlib import Path

from tradeschool.errors import DataError
from tradeschool.evaluate.page import template
from tradeschool.evaluate.verdict import signed
from tradeschool.prepare import overview_charts as charts
from tradeschool.prepare.overview import Overview
from tradeschool.prepare.overview_table import days, headline
from tradeschool.prepare.relation import LEVEL

TEMPLATE = Path(__file__).with_name("overview.jinja")
FOLDED = 20
"""Tables longer than this are folded away."""


def write_page(path: Path, seen: Overview) -> None:
    """Write the page, in a new folder where there is none; a file that is there is replaced.

    Raises:
        DataError: the file cannot be written.
    """
    html = template(TEMPLATE).render(
        title=f"Market: {seen.name}",
        seen=seen,
        headline=headline(seen),
        level=LEVEL,
        days=days(seen.relations) if seen.relations else "",
        signed=signed,
        folded=FOLDED,
        coverage_charts=charts.coverage_charts(seen),
        notes_chart=charts.notes_chart(seen.notes) if seen.notes else "",
        labels_chart=charts.labels_chart(seen) if seen.classes else "",
        relations_chart=charts.relations_chart(seen.relations) if seen.relations and seen.relations.known else "",
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(html, encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}. Give another place: --out page.html") from error
