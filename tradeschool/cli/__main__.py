"""``python -m tradeschool.cli``."""

from tradeschool.cli import main

main()
