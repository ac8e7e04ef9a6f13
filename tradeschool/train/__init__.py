"""How weights change.

A stage is a module with ``Config`` (a subclass of ``train.stage.StageConfig``) and
``run(config, context) -> Result``. A module that hands ``trl:`` to TRL names the class in ``TRL``
("trl:GRPOConfig"), so that a misspelt key is refused before the first stage starts.
"""

# Stage kind -> module, imported only when a recipe asks for it. None of them imports torch at its top.
STAGES: dict[str, str] = {
    "sft": "tradeschool.train.sft",
    "grpo": "tradeschool.train.grpo",
    "evaluate": "tradeschool.evaluate.stage",
}
