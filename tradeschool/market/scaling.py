"""StandardNorm: values less the mean of the training rows, in units of their standard deviation."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tradeschool.errors import DataError
from tradeschool.market.panel import Floats

SMALLEST_SPREAD = 1e-12
"""Standard deviation relative to the largest training value, below which the spread is rounding and not movement."""


@dataclass(frozen=True)
class StandardNorm:
    """z = (x - mean) / std, with mean and std (ddof 0, as scikit-learn's StandardScaler) of the training values.

    It is only ever fitted on what is handed to :meth:`fit`, so hand it the training rows alone. It never changes
    afterwards.
    """

    mean: float
    std: float

    @classmethod
    def fit(cls, train_values: ArrayLike, what: str = "the training values") -> "StandardNorm":
        """Fitted on the known ones of ``train_values``, of any shape; NaN is left out.

        A series that does not move is refused, not scaled by 1: every scaled value of it would be 0, and its
        first later move would be of any size at all.

        Args:
            train_values: prices or other values of the training rows.
            what: names them in an error, such as "AAPL: the 879 training closes".

        Raises:
            DataError: nothing but NaN, an infinite value, or no spread.
        """
        values = np.asarray(train_values, dtype=np.float64)
        if np.isinf(values).any():
            raise DataError(f"{what} hold an infinite value. Correct it, or mark it as missing (NaN).")
        known = values[~np.isnan(values)]
        if not known.size:
            raise DataError(
                f"{what} hold no known value (of {values.size}), so there is nothing to scale by. "
                "Give a longer history or a larger training share."
            )
        mean, std = float(known.mean()), float(known.std())
        if std <= SMALLEST_SPREAD * float(np.abs(known).max()):
            raise DataError(
                f"{what} are all {known.flat[0]:g} ({known.size} of them), so there is no spread to scale by. "
                "Leave this series out, or give a longer training part."
            )
        return cls(mean, std)

    def transform(self, values: ArrayLike) -> Floats:
        """Scaled values, in the shape given; NaN stays NaN."""
        return (np.asarray(values, dtype=np.float64) - self.mean) / self.std

    def inverse(self, scaled: ArrayLike) -> Floats:
        """The values whose :meth:`transform` is ``scaled``."""
        return np.asarray(scaled, dtype=np.float64) * self.std + self.mean
