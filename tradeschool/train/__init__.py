"""Training stages.

A stage is a module with ``Config`` (a subclass of ``train.stage.StageConfig``) and ``run(config, context) -> Result``.
Optional are:

- ``check(config, context)``, called for every stage before the first one starts; it refuses what would fail later.
- ``MAKES``, the kind of weights that the stage hands on ("language" or "numeric").
- ``TRL`` or ``SB3``, the class that takes ``trl:`` or ``sb3:`` ("trl:GRPOConfig"), so that a misspelt key is refused.
"""
