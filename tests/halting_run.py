"""The command line, but a stage stops dead at one place, so that a test can kill it there.

    python halting_run.py STAGE STEP during|after MARKER resume RUN

``after``: when optimizer step STEP has ended; ``during``: inside the writing of that step's
checkpoint, when the model lies on the disk and the optimizer does not. MARKER is created then.
Stages without such steps stop after their first checkpoint (``ppo``), or when the answers of
their second model or agent are about to be written (``evaluate``, ``leaderboard``), or when
their third batch of questions is about to be asked (``reject``).
"""

import sys
import time
from pathlib import Path
from typing import Any


def main() -> None:
    stage, at, moment, marker = sys.argv[1], int(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
    del sys.argv[1:5]

    def halt() -> None:
        marker.touch()
        time.sleep(300)

    if stage == "ppo":
        halt_in_ppo(halt)
    elif stage == "reject":
        halt_in_batches(halt)
    elif stage in ("evaluate", "leaderboard"):
        halt_in_answers(stage, halt)
    else:
        halt_in_training(stage, at, moment, halt)
    from tradeschool import cli

    cli.main()


def halt_in_ppo(halt: Any) -> None:
    import importlib

    ppo_learner: Any = importlib.import_module("tradeschool.train.ppo_learner")
    save, ppo_learner.CHECKPOINT_SECONDS = ppo_learner._save_checkpoint, 0.0

    def save_and_halt(*given: Any) -> None:
        save(*given)
        halt()

    ppo_learner._save_checkpoint = save_and_halt


def halt_in_batches(halt: Any) -> None:
    import importlib

    reject: Any = importlib.import_module("tradeschool.train.reject")
    asker, asked = reject.asker, list[int]()

    def halting_asker(*given: Any) -> Any:
        ask = asker(*given)

        def ask_or_halt(*batch: Any) -> Any:
            if len(asked) == 2:
                halt()
            asked.append(1)
            return ask(*batch)

        return ask_or_halt

    reject.asker = halting_asker


def halt_in_answers(stage: str, halt: Any) -> None:
    import importlib

    name = "tradeschool.evaluate.stage" if stage == "evaluate" else "tradeschool.evaluate.leaderboard.run"
    module: Any = importlib.import_module(name)
    write, written = module.write_traces, list[int]()

    def write_or_halt(*given: Any) -> None:
        if written:
            halt()
        written.append(1)
        write(*given)

    module.write_traces = write_or_halt


def halt_in_training(stage: str, at: int, moment: str, halt: Any) -> None:
    from transformers import Trainer, TrainerCallback

    def here(trainer_args: Any, step: int) -> bool:
        return f"-{stage}/" in str(trainer_args.output_dir) and step == at

    class Halt(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if moment == "after" and here(args, state.global_step):
                halt()

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_log = control.should_log or here(args, state.global_step)

    save, initialise = Trainer._save_optimizer_and_scheduler, Trainer.__init__

    def save_and_halt(self: Any, folder: Any) -> None:
        if moment == "during" and here(self.args, self.state.global_step):
            halt()
        save(self, folder)

    def initialise_with_halt(self: Any, *given: Any, **options: Any) -> None:
        initialise(self, *given, **options)
        self.add_callback(Halt())

    Trainer._save_optimizer_and_scheduler = save_and_halt
    Trainer.__init__ = initialise_with_halt


if __name__ == "__main__":
    main()
