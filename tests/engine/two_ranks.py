"""Trains with two processes that talk by gloo; run by test_training, with the folder as its argument."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import warnings
from pathlib import Path

warnings.simplefilter("ignore")
sys.path.insert(0, str(Path(__file__).parent.parent))

if __name__ == "__main__":
    import lightning.pytorch as pl
    import torch

    from engine.small_task import SmallTask
    from fastwsi.engine import TrainingError, TrainingRecipe, train

    class Stop(pl.Callback):
        """A system that wants its machine back, during the fifth update."""

        def on_train_batch_start(self, trainer, *_):
            if trainer.global_step == 4:
                signal.raise_signal(signal.SIGTERM)

    class TwoHeads(torch.nn.Module):
        """Has weights that no loss hangs on."""

        def __init__(self, network):
            super().__init__()
            self.network, self.other = network, torch.nn.Linear(3, 3)

        def forward(self, pixels):
            return self.network(pixels)

    folder, resume = Path(sys.argv[1]), sys.argv[2] == "resume"
    every = int(sys.argv[3])
    recipe = TrainingRecipe(
        steps=12, batch_size=4, learning_rate=0.01, validate_every=every, validation_patches=32, workers=0,
        checkpoint_minutes=1e-9,
    )  # fmt: skip
    task = SmallTask(recipe)
    options = {"accelerator": "cpu", "devices": 2, "strategy": "ddp", "progress": False}
    if sys.argv[2] == "two heads":
        task.network, options["strategy"] = TwoHeads(task.network), "auto"
    if sys.argv[2] == "stop":
        with contextlib.suppress(TrainingError):
            train(task, folder, callbacks=[Stop()], **options)
        sys.exit()
    train(task, folder, resume=resume, **options)
    rank = int(os.environ["LOCAL_RANK"])
    torch.save(task.network.state_dict(), folder / f"weights_{rank}.pt")
    (folder / f"seen_{rank}.json").write_text(json.dumps(task.trained_on))
