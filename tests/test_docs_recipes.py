"""docs/recipes.md lists every key of a recipe."""

import docs_recipes


def test_the_page_of_recipe_keys_is_up_to_date() -> None:
    cure = "Write it again: PYTHONPATH=.:tests python tests/docs_recipes.py"
    assert docs_recipes.PAGE.read_text(encoding="utf-8") == docs_recipes.page(), cure
