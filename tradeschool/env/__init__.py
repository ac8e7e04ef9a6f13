"""The trading environment. Importing it registers its levels with Gymnasium: ``tradeschool/Easy-v1`` and so on."""

import gymnasium

from tradeschool.env.levels import LEVELS

for _name, _settings in LEVELS.items():
    gymnasium.register(f"tradeschool/{_name}-v1", "tradeschool.env.trading:TradingEnv", kwargs=dict(_settings))
