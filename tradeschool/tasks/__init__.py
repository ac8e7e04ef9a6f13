"""What is asked, and what a good answer is.

A task is a subclass of ``tasks.base.Task`` with an attribute ``config_class`` (a pydantic model) and the constructor
``(config, panel, split)``. ``docs/extending.md`` shows one that lives outside this package.
"""
