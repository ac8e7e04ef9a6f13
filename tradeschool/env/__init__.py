"""The trading environment. Importing it registers its levels with Gymnasium: ``tradeschool/Easy-v1`` and so on.

``gymnasium.make`` gives a single one, with text unless told otherwise; ``gymnasium.make_vec`` a batch, in
numbers.
"""

import gymnasium

from tradeschool.env.levels import LEVELS

for _name, _settings in LEVELS.items():
    gymnasium.register(
        f"tradeschool/{_name}-v1",
        "tradeschool.env.trading:TradingEnv",
        vector_entry_point="tradeschool.env.batched:BatchedTradingEnv",
        kwargs=dict(_settings),
    )
