"""What all pages share: one look for light and dark, one file without scripts or outside parts, all text escaped."""

from pathlib import Path
from typing import Any


def template(path: Path) -> Any:
    """The jinja template in a file. It may extend ``page.jinja``, which brings the head and the look."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([path.parent, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(path.name)
