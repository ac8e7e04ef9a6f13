"""Recipes: reading, ``--set``, and errors."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import docs_recipes
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from tradeschool.config.document import lay_over, parse_scalar, parse_set, read_mapping, to_yaml
from tradeschool.config.recipe import Recipe, differences, from_mapping, read
from tradeschool.config.sections import SplitConfig
from tradeschool.errors import RecipeError

Write = Callable[..., Path]
ROOT = Path(__file__).parents[2]
REAL_MARKET = {"source": "folder", "path": "/prices"}
_ASCII = st.characters(min_codepoint=32, max_codepoint=126)
_KEYS = st.lists(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True), min_size=1, max_size=4)
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(_ASCII, max_size=12),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


def refused(path: Path, *sets: str) -> str:
    with pytest.raises(RecipeError) as raised:
        read(path, sets)
    return str(raised.value)


def test_a_recipe_is_resolved_with_every_default_written_out(fake_recipe: Write) -> None:
    recipe = read(fake_recipe())
    assert (recipe.name, recipe.seed, recipe.source) == ("fake", 5, "synthetic")
    assert [stage.name for stage in recipe.stages] == ["first", "second", "fake"]
    assert [stage.steps for stage in recipe.stages] == [3, 4, 3]
    assert recipe.resolved["stages"][0]["inner"] == {"depth": 1}
    assert recipe.resolved["split"]["embargo"] == "auto"
    assert recipe.task.model_dump()["facts"] == ["market", "rsi"]


def test_a_resolved_recipe_reads_back_as_itself(fake_recipe: Write, tmp_path: Path) -> None:
    recipe = read(fake_recipe(), ["stages.first.trl.learning_rate=1e-5", "split={validation_from: 2010-06-01, "
                                  "test_from: 2010-09-01}"])  # fmt: skip
    (tmp_path / "resolved.yaml").write_text(to_yaml(recipe.resolved), encoding="utf-8")
    again = read(tmp_path / "resolved.yaml")
    assert again.resolved == recipe.resolved
    assert again.digest() == recipe.digest()


RECIPES = sorted(path for path in (ROOT / "recipes").glob("*.yaml") if "\nstages:" in path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_reads_back_as_itself(path: Path, tmp_path: Path) -> None:
    recipe = read(path, [f"market={json.dumps(REAL_MARKET)}"] if "path:" in path.read_text(encoding="utf-8") else [])
    (tmp_path / "resolved.yaml").write_text(to_yaml(recipe.resolved), encoding="utf-8")
    again = read(tmp_path / "resolved.yaml")
    assert again.resolved == recipe.resolved
    assert again.digest() == recipe.digest()


TABLES = (
    *docs_recipes.MARKETS,
    *docs_recipes.TASK_TABLES,
    *docs_recipes.MODEL_TABLES,
    *docs_recipes.STAGE_TABLES,
    ("split", "", SplitConfig, {}),
)
CONFIGS = list(dict.fromkeys(cls for _, _, cls, _ in TABLES))
REQUIRED = {"stage": "x", "path": "/prices", "name": "x", "models": ["x"]}


@pytest.mark.parametrize("cls", CONFIGS, ids=lambda cls: f"{cls.__module__}.{cls.__name__}")
def test_the_defaults_of_every_section_read_back_as_themselves(cls: type[BaseModel], tmp_path: Path) -> None:
    """A validator that changes a default must give the same again when it reads what it gave."""
    required = [(name, field) for name, field in cls.model_fields.items() if field.is_required()]
    needed = {name: REQUIRED.get(name) or get_args(field.annotation)[0] for name, field in required}
    made = cls.model_validate(needed)
    (tmp_path / "section.yaml").write_text(to_yaml(made.model_dump(mode="json")), encoding="utf-8")
    again = cls.model_validate(read_mapping(tmp_path / "section.yaml")[0])
    assert again == made
    assert again.model_dump(mode="json") == made.model_dump(mode="json")


@given(st.dictionaries(st.sampled_from(["learning_rate", "beta", "shuffle", "run_name"]), _VALUES))
def test_any_options_of_a_library_read_back_as_themselves(options: dict[str, Any]) -> None:
    document = {
        "name": "own",
        "market": {"source": "synthetic"},
        "task": {"name": "rating"},
        "model": {"base": "tiny"},
        "stages": [{"stage": "sft", "trl": options}],
    }
    resolved = from_mapping(document).resolved
    assert from_mapping(parse_scalar(to_yaml(resolved))).resolved == resolved


def test_stages_without_a_name_in_an_option_get_one(fake_recipe: Write) -> None:
    recipe = read(fake_recipe(), ["stages=[{stage: fake}, {stage: fake}]"])
    assert [stage.name for stage in recipe.stages] == ["fake", "fake-2"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("base", "the model that the run starts from"),
        ("FIRST", "the name of an earlier stage"),
        ("x" * 65, "at most 64"),
    ],
)
def test_a_name_that_would_be_taken_for_another_is_refused(fake_recipe: Write, name: str, words: str) -> None:
    assert words in refused(fake_recipe(), f"stages.second.name={name}")


def test_the_seed_of_training_changes_neither_the_market_nor_the_exam() -> None:
    demo = Path(__file__).parents[2] / "recipes" / "demo.yaml"
    first, other = read(demo).resolved, read(demo, ["seed=3"]).resolved
    assert (first["seed"], first["market"]["seed"], first["stages"][-1]["seed"]) == (0, 0, 0)
    assert differences(first, other) == ["seed: 0 -> 3"]
    apart = read(demo, ["seed=3", "market.seed=9", "stages.evaluate.seed=2"])
    assert (apart.seed, apart.resolved["market"]["seed"], apart.resolved["stages"][-1]["seed"]) == (3, 9, 2)


# --set


@given(_KEYS, _VALUES)
def test_set_reads_back_any_key_and_value(keys: list[str], value: Any) -> None:
    # JSON is YAML.
    parts, read_back = parse_set(f"{'.'.join(keys)}={json.dumps(value)}")
    assert (parts, read_back) == (keys, value)
    document: dict[str, Any] = {}
    assert lay_over(document, parts, read_back, "option") == tuple(keys)
    found: Any = document
    for key in keys:
        found = found[key]
    assert found == value


@given(st.text(max_size=30))
def test_any_option_is_read_or_refused(option: str) -> None:
    try:
        keys, _ = parse_set(option)
        assert all(keys)
    except RecipeError as error:
        assert "--set" in str(error)  # noqa: PT017


@pytest.mark.parametrize("option", ["seed", "=3", "a..b=1", ".=1", ""])
def test_an_option_that_is_not_key_value_is_refused_with_an_example(fake_recipe: Write, option: str) -> None:
    assert "Write it like --set seed=3" in refused(fake_recipe(), option)


def test_stages_go_by_name_or_position_and_numbers_are_numbers(fake_recipe: Write) -> None:
    recipe = read(fake_recipe(), ["stages.second.steps=7", "stages.2.rate=1e-3", "stages.fake.trl.learning_rate=2e-5"])
    assert recipe.stages[1].steps == 7
    assert recipe.stages[2].rate == 0.001
    assert recipe.stages[2].trl == {"learning_rate": 2e-5}


def test_a_second_stage_of_a_kind_gets_a_number(fake_recipe: Write) -> None:
    path = fake_recipe((", name: first", ""), (", name: second", ""))
    assert [stage.name for stage in read(path).stages] == ["fake", "fake-2", "fake-3"]


def test_the_last_of_two_options_wins_over_the_file(fake_recipe: Write) -> None:
    assert read(fake_recipe(), ["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("stages.secnd.steps=1", ["no 'secnd'", "Did you mean 'second'?", "first, second, fake"]),
        ("stages.9.steps=1", ["3 entries", "no 9"]),
        ("name.x=1", ["name is 'fake'", "Set it as a whole"]),
        ("seeed=1", ["--set seeed=1", "Did you mean 'seed'?", "Valid keys: market, model, name, seed"]),
        ("market.egde=0.2", ["--set market.egde=0.2", "Did you mean 'edge'?", "tickers"]),
        ("task.fcts=[rsi]", ["Did you mean 'facts'?"]),
        ("stages.first.stpes=1", ["stages.first.stpes", "Did you mean 'steps'?", "rate"]),
        ("stages.first.inner.deph=1", ["stages.first.inner.deph", "Did you mean 'depth'?"]),
        ("split.trian=0.5", ["Did you mean 'train'?"]),
        ("modle.base=x", ["--set modle.base=x", "Did you mean 'model'?"]),
        ("market.edge=high", ["market.edge is 'high', but must be a number"]),
        ("market.edge=0.9", ["market.edge is 0.9, but must be at most 0.6"]),
        ("stages.first.steps=1.5", ["stages.first.steps is 1.5, but must be a whole number"]),
        ("stages.first.steps=0", ["must be at least 1"]),
        ("stages.first.speed=fats", ["must be one of fast, slow", "Did you mean 'fast'?"]),
        ("stages.first.stage=fak", ["is 'fak'", "Did you mean 'fake'?"]),
        ("stages.first.name=second", ["the name of an earlier stage"]),
        ("stages.first.name=base", ["the model that the run starts from"]),
        ("market.start=2015-02-31", ["market.start is '2015-02-31', but must be a date like 2015-01-31"]),
        ("stages.first.name=../x", ["letters, digits"]),
        ("name=../x", ["name is '../x'", "letters, digits"]),
        ("name=/x", ["name is '/x'", "letters, digits"]),
        ("stages.first=3", ["stage"]),
        ("stages=[]", ["at least one stage"]),
        ("task.name=ratings", ["Did you mean 'rating'?"]),
        ("market.source=folders", ["one of synthetic, folder, parquet, deepstock, sample", "Did you mean 'folder'?"]),
        ("seed=-1", ["seed is -1, but must be at least 0"]),
        ("split.train=0.9", ["fake.yaml, line 5 with --set split.train=0.9: split must", "0.9 + 0.2 + 0.3 = 1.4"]),
        ("split.test_from=2011-01-01", ["shares and dates", "--set 'split={"]),
        ("split.embargo=-2", ["must be auto or a whole number"]),
        ("task.weights={profits: 1}", ["Did you mean 'profit'?"]),
    ],
)  # fmt: skip
def test_an_error_names_key_value_and_cure(fake_recipe: Write, option: str, words: list[str]) -> None:
    output = refused(fake_recipe(), option)
    for word in words:
        assert word in output
    assert "pydantic" not in output
    assert "Traceback" not in output


def test_a_recipe_that_is_missing_lists_those_nearby_without_hidden_files(fake_recipe: Write) -> None:
    (fake_recipe().parent / ".hidden.yaml").write_text("", encoding="utf-8")
    assert refused(Path("fkae.yaml")).endswith("Did you mean 'fake.yaml'? Recipes found: fake.yaml.")


def test_every_problem_gets_a_line_with_its_line_in_the_file(fake_recipe: Write) -> None:
    output = refused(fake_recipe(("edge: 0.1", "edgy: 0.1"), ("steps: 4", "steps: many"), ("seed: 5", "seed: x")))
    lines = output.splitlines()
    assert len(lines) == 3
    assert "fake.yaml, line 3: seed is 'x', but must be a whole number." in output
    assert "fake.yaml, line 4: market.edgy: 'edgy' is not a key here. Did you mean 'edge'?" in output
    assert "fake.yaml, line 12: stages.second.steps is 'many', but must be a whole number." in output


@pytest.mark.parametrize("section", ["task", "stages", "model", "name"])
def test_a_missing_section_is_named(fake_recipe: Write, section: str) -> None:
    path = fake_recipe()
    document, _ = read_mapping(path)
    del document[section]
    path.write_text(to_yaml(document), encoding="utf-8")
    assert f"{section} is missing" in refused(path)


def test_a_recipe_that_is_not_there_is_named_with_the_nearest(fake_recipe: Write, tmp_path: Path) -> None:
    fake_recipe()
    assert "Did you mean 'fake.yaml'?" in refused(tmp_path / "fak.yaml")
    assert "is a folder" in refused(tmp_path)


# models that stages start from or look at


def test_a_stage_may_name_an_earlier_stage(fake_recipe: Write) -> None:
    assert read(fake_recipe(), ["stages.fake.model=first"]).stages[2].model == "first"
    assert read(fake_recipe(), ["stages.first.model=base"]).stages[0].model == "base"
    assert read(fake_recipe(), ["stages.fake.models=[first, second]"]).stages[2].models == ["first", "second"]


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("stages.fake.model=frst", ["stages.fake.model is 'frst'", "Did you mean 'first'?", "base, first, second"]),
        ("stages.first.model=second", ["stages.first.model is 'second'", "Choose from: base"]),
        ("stages.second.models=[first, third]", ["stages.second.models is 'third'", "Choose from: first"]),
    ],
)
def test_a_stage_that_names_no_earlier_model_is_refused(fake_recipe: Write, option: str, words: list[str]) -> None:
    message = refused(fake_recipe(), option)
    for word in words:
        assert word in message


# the user's own task

TASK = """
from pydantic import BaseModel
from tradeschool.tasks.rating import RatingTask
from tradeschool.tasks.rating_config import RatingConfig

class OwnConfig(RatingConfig):
    name: str = "own"
    days: int = 3

class OwnTask(RatingTask):
    config_class = OwnConfig

class WithoutConfig(RatingTask):
    config_class = None

class NoTask:
    pass
"""


@pytest.fixture
def own_task(fake_recipe: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "my_tasks.py").write_text(TASK, encoding="utf-8")
    (tmp_path / "broken_tasks.py").write_text("import no_such_library", encoding="utf-8")
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in ("my_tasks", "broken_tasks"):
        sys.modules.pop(name, None)


def test_a_task_of_the_users_own(fake_recipe: Write, own_task: None) -> None:
    recipe = read(fake_recipe(), ["task={name: 'my_tasks:OwnTask', days: 4}"])
    assert recipe.task_class.__name__ == "OwnTask"
    assert recipe.resolved["task"]["name"] == "my_tasks:OwnTask"
    assert recipe.resolved["task"]["days"] == 4
    assert from_mapping(json.loads(json.dumps(recipe.resolved))).resolved == recipe.resolved
    assert "days is 'x', but must be a whole number" in refused(
        fake_recipe(), "task={name: 'my_tasks:OwnTask', days: x}"
    )


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("my_task:OwnTask", "there is no module 'my_task'"),
        ("my_tasks:OwnTsk", "Did you mean 'OwnTask'?"),
        ("my_tasks:NoTask", "is not a subclass of tradeschool.tasks.base.Task"),
        ("my_tasks:WithoutConfig", "has no config_class"),
        ("broken_tasks:OwnTask", "no_such_library"),
    ],
)
def test_a_class_that_cannot_be_used_is_refused(fake_recipe: Write, own_task: None, name: str, words: str) -> None:
    assert words in refused(fake_recipe(), f"task={{name: '{name}'}}")


# market.path


@pytest.mark.parametrize(("file", "source"), [("AAPL.csv", "folder"), ("prices.parquet", "parquet")])
def test_market_path_implies_the_source_and_drops_the_synthetic_market(
    fake_recipe: Write, tmp_path: Path, file: str, source: str
) -> None:
    (tmp_path / "prices").mkdir()
    (tmp_path / "prices" / file).touch()
    recipe: Recipe = read(fake_recipe(), ["market.path=prices"])
    assert recipe.resolved["market"] == {
        "source": source,
        "path": str(tmp_path / "prices"),
        "adjust": True,
        "splits": "refuse",
        "spikes": "refuse",
        "accept": [],
        "events": [],
        "names": None,
        "exchange": "NYSE",
        "dated_events": "next_day",
    }
    assert "market.edge" in recipe.notes[0]


def test_a_market_path_without_prices_is_refused(fake_recipe: Write, tmp_path: Path) -> None:
    assert "does not exist" in refused(fake_recipe(), "market.path=nowhere")
    (tmp_path / "empty").mkdir()
    assert "no CSV and no parquet file" in refused(fake_recipe(), "market.path=empty")


def test_a_key_of_the_synthetic_market_beside_a_market_path_is_refused(fake_recipe: Write, tmp_path: Path) -> None:
    (tmp_path / "prices").mkdir()
    (tmp_path / "prices" / "AAPL.csv").touch()
    assert "'edge' is not a key here" in refused(fake_recipe(), "market.path=prices", "market.edge=0.2")


# differences


@pytest.mark.parametrize("start", ["2012-01-01", "'2012-01-01'", '"2012-01-01"', "2012-01-01 00:00:00"])
def test_a_date_is_read_with_and_without_quotes_and_reads_back(start: str, fake_recipe: Write, tmp_path: Path) -> None:
    found = read(fake_recipe(), [f"market.start={start}"])
    assert found.resolved["market"]["start"] == "2012-01-01"
    inside = fake_recipe(("edge: 0.1}", f"edge: 0.1, start: {start}}}"))
    assert read(inside).resolved == found.resolved
    again = tmp_path / "again.yaml"
    again.write_text(to_yaml(found.resolved), encoding="utf-8")
    assert read(again).resolved == found.resolved
    split = "split={validation_from: 2011-01-03, test_from: '2011-02-01'}"
    assert read(fake_recipe(), [split]).resolved["split"]["validation_from"] == "2011-01-03"


@pytest.mark.parametrize("name", ["2024", "2012-01-01", "NO", "on"])
def test_a_folder_may_look_like_a_number_a_date_or_a_word(name: str, fake_recipe: Write, tmp_path: Path) -> None:
    recipe = fake_recipe()
    (tmp_path / name).mkdir()
    (tmp_path / name / "600519.csv").write_text("Date,Open,High,Low,Close,Volume\n", encoding="utf-8")
    assert read(recipe, [f"market.path={name}"]).resolved["market"]["path"] == str(tmp_path / name)


def test_differences_name_the_keys_with_old_and_new_value(fake_recipe: Write) -> None:
    old = read(fake_recipe()).resolved
    new = read(fake_recipe(), ["stages.second.steps=9", "task.facts=[rsi]", "stages.first.trl.beta=0.1"]).resolved
    assert differences(old, new) == [
        'task.facts: ["market", "rsi"] -> ["rsi"]',
        "stages.first.trl: {} -> (absent)",
        "stages.second.steps: 4 -> 9",
        "stages.first.trl.beta: (absent) -> 0.1",
    ]
    assert differences(old, old) == []


def test_a_stage_more_or_less_is_a_difference(fake_recipe: Write) -> None:
    old, new = read(fake_recipe()).resolved, read(fake_recipe()).resolved
    removed = new["stages"].pop()
    changed = differences(old, new)
    assert len(changed) >= len(removed) - 1
    assert any(line.startswith("stages.fake.stage:") and line.endswith("(absent)") for line in changed)


def test_stages_in_another_order_are_a_difference(fake_recipe: Write) -> None:
    old, new = read(fake_recipe()).resolved, read(fake_recipe()).resolved
    new["stages"].reverse()
    assert differences(old, new) == ['stages: ["first", "second", "fake"] -> ["fake", "second", "first"]']


def test_reading_a_recipe_imports_no_torch(fake_recipe: Write) -> None:
    path = fake_recipe()
    script = (
        "import sys; from tradeschool.config.recipe import STAGES, read; "
        f"STAGES['fake'] = 'fake_stage'; read(__import__('pathlib').Path({str(path)!r})); "
        "print([name for name in ('torch', 'transformers', 'trl', 'datasets') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=_environment())
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def _environment() -> dict[str, str]:
    tests = Path(__file__).parents[1]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent), os.environ.get("PYTHONPATH", "")]),
    }
