"""The command line, but training stops dead at one place, so that a test can kill it there.

    python halting_run.py STAGE STEP during|after MARKER resume RUN

``after``: when optimizer step STEP has ended; ``during``: inside the writing of that step's
checkpoint, when the model lies on the disk and the optimizer does not. MARKER is created then.
"""

import sys
import time
from pathlib import Path
from typing import Any


def main() -> None:
    from transformers import Trainer, TrainerCallback

    stage, at, moment, marker = sys.argv[1], int(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
    del sys.argv[1:5]

    def here(trainer_args: Any, step: int) -> bool:
        return f"-{stage}/" in str(trainer_args.output_dir) and step == at

    def halt() -> None:
        marker.touch()
        time.sleep(300)

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
    from tradeschool import cli

    cli.main()


if __name__ == "__main__":
    main()
