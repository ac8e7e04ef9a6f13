"""The trading environment. Importing it registers its levels with Gymnasium: ``tradeschool/Easy-v1`` and so on.

``gymnasium.make`` gives a single environment, with text by default. ``gymnasium.make_vec`` gives many, with numbers.
"""

import gymnasium

from tradeschool.env.config import LEVELS

for _name, _settings in LEVELS.items():
    gymnasium.register(
        f"tradeschool/{_name}-v1",
        "tradeschool.env.trading_env:TradingEnv",
        vector_entry_point="tradeschool.env.vector_env:VectorTradingEnv",
        kwargs=dict(_settings),
    )
