"""How weights change.

A stage is a module with ``Config`` (a subclass of ``train.stage.StageConfig``) and
``run(config, context) -> Result``. A module that hands ``trl:`` to TRL names the class in ``TRL``
("trl:GRPOConfig"), one that hands ``sb3:`` to Stable-Baselines3 in ``SB3``, so that a misspelt key is refused before
the first stage starts; so is a task that ``check_task(config, task)`` raises on, where the module has it.
"""

# Stage kind -> module, imported only when a recipe asks for it. None of them imports torch at its top.
STAGES: dict[str, str] = {
    "sft": "tradeschool.train.sft",
    "grpo": "tradeschool.train.grpo",
    "ppo": "tradeschool.train.ppo",
    "evaluate": "tradeschool.evaluate.stage",
    "leaderboard": "tradeschool.evaluate.leaderboard.stage",
}
