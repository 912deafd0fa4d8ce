"""The command line as a user types it."""

from __future__ import annotations

from typer.testing import CliRunner

from fastwsi.cli import app

runner = CliRunner()
# Settings of a training that takes a second.
TINY = """
patch: 75
centre: 32
jitter: 2
mpp: [1.0]
steps: 4
batch_size: 4
validate_every: 2
validation_patches: 8
workers: 0
"""


def run(*arguments):
    return runner.invoke(app, [str(argument) for argument in arguments])
