"""A program: scans a slide of 100,000 x 100,000 pixels that is nowhere stored, and tells its peak memory."""

from __future__ import annotations

import json
import resource
import sys

import numpy as np
import torch

import fastwsi
from fastwsi.engine import PatchInput, scan

SIDE, STRIDE = 100_000, 128


class Checks:
    """Each cell in one colour, which tells its place."""

    shape, dtype = (SIDE, SIDE, 3), np.dtype("uint8")

    def __getitem__(self, key):
        rows, columns = ((np.arange(each.start, each.stop) // STRIDE).astype(np.uint8) for each in key[:2])
        grey = (rows * np.uint8(3))[:, None] + columns  # modulo 256, as bytes are
        return np.broadcast_to(grey[..., None], (*grey.shape, 3))


class Middle:
    """Scores with the pixel in a patch's middle."""

    input = PatchInput(299, 128)

    def scorer(self, device, *, precision, orientations):
        return lambda pixels: pixels[:, 149, 149, 1].float() / 255

    def colours(self, slide):
        return None


def main(readers):
    found = scan(Middle(), fastwsi.open_slide(Checks(), mpp=0.25), device="cpu", readers=readers)
    rows, columns = np.indices(found.heatmap.shape)
    wanted = (rows * 3 + columns) % 256
    wanted[-1] = wanted[:, -1] = 255  # the last cells' middles lie outside
    right = bool((found.heatmap == wanted.astype(np.float32) / np.float32(255)).all())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    told = {"shape": found.heatmap.shape, "right": right, "peak": peak, "told": str(found)}
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(int(sys.argv[1]))
