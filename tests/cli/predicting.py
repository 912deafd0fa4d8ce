"""What the tests of `fastwsi predict` have in common: slides, a trained model, and what a folder holds."""

from __future__ import annotations

from pathlib import Path

from cli.running import TINY, run

SCANNED = (
    TINY
    + """scan.stride: 48
scan.orientations: false
scan.nms_threshold: 0.1
"""
)


def contents(folder):
    """Every file that is meant for a reader, with its bytes."""
    return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir()) if path.name[0] != "."}


class Scanned:
    """Slides, and an ensemble of two that was trained on some of them for a few steps."""

    def __init__(self, folder):
        self.slides, self.members = folder / "slides", folder / "members"
        self.one, self.other = self.members / "member-0", self.members / "member-1"
        made = run(
            "synth", self.slides, "--slides", 13, "--test", 3, "--size", "900x700", "--mpp", "1.0", "-q"
        )
        assert made.exit_code == 0, made.output
        (folder / "tiny.yaml").write_text(SCANNED)
        made = run(
            "train", "liu2017", self.slides, "--out", self.members, "--recipe", "liu2017-demo", "--config",
            folder / "tiny.yaml", "--device", "cpu", "--devices", 1, "--members", 2, "-q",
        )  # fmt: skip
        assert made.exit_code == 0, made.output
        self.files = sorted((self.slides / "testing" / "images").glob("*.tif"))
        self.names = [path.stem for path in self.files]
        self.out = folder / "results"
        self.done = run("predict", self.one, self.slides, "--out", self.out, "--device", "cpu")
