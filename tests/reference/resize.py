"""Pictures at another scale: by the area of each pixel that a box covers, and linearly between centres."""

from __future__ import annotations

import numpy as np


def weights(outputs, inputs, origin, scale):
    """How much of each input pixel is in each output pixel, shape (outputs, inputs)."""
    table = np.zeros((outputs, inputs))
    for i in range(outputs):
        if scale < 1:
            centre = min(max(origin + (i + 0.5) * scale - 0.5, 0), inputs - 1)
            left = int(centre)
            table[i, left] += left + 1 - centre
            if centre > left:
                table[i, left + 1] += centre - left
        else:
            low, high = origin + i * scale, origin + (i + 1) * scale
            for j in range(max(0, int(low)), min(inputs, int(np.ceil(high)))):
                table[i, j] = max(0.0, min(high, j + 1) - max(low, j))
            table[i] /= table[i].sum()
    return table


def area(image, size, origin, scale):
    """A float64 picture (height, width, channels) of ``size`` (height, width), not rounded."""
    down = weights(size[0], image.shape[0], origin[1], scale[1])
    across = weights(size[1], image.shape[1], origin[0], scale[0])
    return np.einsum("ij,jkc,lk->ilc", down, image.astype(np.float64), across, optimize=True)
