"""Trains with two processes that talk by gloo; run by test_training, with the folder as its argument."""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path

warnings.simplefilter("ignore")
sys.path.insert(0, str(Path(__file__).parent.parent))

if __name__ == "__main__":
    import torch

    from engine.small_task import SmallTask
    from fastwsi.engine import TrainingRecipe, train

    folder, resume = Path(sys.argv[1]), sys.argv[2] == "resume"
    recipe = TrainingRecipe(
        steps=12, batch_size=4, learning_rate=0.01, validate_every=6, validation_patches=32, workers=0,
        checkpoint_minutes=1e-9,
    )  # fmt: skip
    task = SmallTask(recipe)
    train(task, folder, resume=resume, accelerator="cpu", devices=2, strategy="ddp", progress=False)
    rank = int(os.environ["LOCAL_RANK"])
    torch.save(task.network.state_dict(), folder / f"weights_{rank}.pt")
    (folder / f"seen_{rank}.json").write_text(json.dumps(task.trained_on))
