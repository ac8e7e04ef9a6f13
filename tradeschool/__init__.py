"""tradeschool trains language models to trade, and says honestly whether they learned anything."""

__version__ = "0.1.0"
