"""What is asked, and what a good answer is.

A task is a class in this folder: a subclass of ``tasks.base.Task`` with an attribute ``config_class``
(a pydantic model) and the constructor ``(config, panel, split)``.
"""

# Task name -> "module:class", imported only when a recipe asks for it.
TASKS: dict[str, str] = {
    "rating": "tradeschool.tasks.rating:RatingTask",
    "trade": "tradeschool.tasks.trade:TradeTask",
}
