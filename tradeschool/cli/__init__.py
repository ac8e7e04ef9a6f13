"""The command line: one module for each command or group of commands."""


def main() -> None:
    """The ``tradeschool`` command."""
    from tradeschool.cli.main import app

    app()
