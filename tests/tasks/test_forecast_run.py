"""Every stage of recipes/forecast-tiny.yaml, cut down to seconds."""

import json
from pathlib import Path

from rich.console import Console

from tradeschool import pipeline
from tradeschool.config.recipe import read
from tradeschool.evaluate.comparison import Comparison

RECIPE = Path(__file__).parents[2] / "recipes" / "forecast-tiny.yaml"
SMALL = (
    "market.tickers=4",
    "market.days=330",
    "split={train: 0.5, validation: 0.1, test: 0.4, warmup: 30}",
    "task.horizons=[1, 2, 3]",
    "model.tiny={vocabulary: 900, hidden_size: 32, layers: 1, heads: 2, intermediate_size: 64}",
    "stages.sft.examples=96",
    "stages.sft.trl.max_steps=3",
    "stages.gvpo.questions=24",
    "stages.gvpo.trl.max_steps=3",
    "stages.gvpo.trl.per_device_train_batch_size=40",
    "stages.evaluate.tickers=1",
    "stages.evaluate.max_new_tokens=24",
)


def test_the_recipe_runs_through_all_stages(tmp_path: Path) -> None:
    folder = pipeline.run(read(RECIPE, SMALL), tmp_path / "run", Console(quiet=True))
    evaluated = folder / "3-evaluate"
    comparison = Comparison.from_json((evaluated / "comparison.json").read_text())
    rows = {row.policy: row for row in comparison.rows}
    assert {"persistence", "ARIMA", "base model (tiny)", "sft", "gvpo"} <= set(rows)
    assert comparison.primary == "skill"
    assert rows["base model (tiny)"].metrics["parse_errors"].value == 1
    captions = [caption for caption, _ in json.loads((evaluated / "figures.json").read_text())]
    assert any("Skill by day" in caption for caption in captions)
    assert "Diebold-Mariano" in (folder / "report.html").read_text()
    steps = [json.loads(line) for line in (folder / "2-gvpo" / "metrics.jsonl").read_text().splitlines()]
    shares = [steps[0][f"answers/{name}"] for name in ("FALL", "FLAT", "RISE")]
    assert abs(sum(shares) - 1) < 1e-4
