"""Small slides for tests: pictures with structure, written as tiled TIFFs of many kinds by tifffile."""

from __future__ import annotations

import numpy as np
import tifffile

APERIO = (
    "Aperio Image Library v11.2.1\r\n{width}x{height} [0,0 {width}x{height}] ({tile}x{tile}) JPEG/RGB Q=70"
    "|AppMag = 20|MPP = 0.4990|Filename = made up"
)


def picture(width, height, seed=0):
    """Smooth colours with a little noise: something that JPEG is meant for, every part unlike the others."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [
        128 + 90 * np.sin(x / (7 + 5 * c) + rng.uniform(0, 6)) * np.cos(y / (11 - 2 * c) + rng.uniform(0, 6))
        for c in range(3)
    ]
    return np.clip(np.stack(waves, -1) + rng.normal(0, 6, (height, width, 3)), 0, 255).astype(np.uint8)


def halved(image):
    """Every second pixel: levels need not be good, only different."""
    return np.ascontiguousarray(image[::2, ::2])


def write(path, levels, *, tile=256, compression="jpeg", mpp=0.5, description=None, byteorder="<", **more):
    """Write levels as a chain of directories, the smaller ones marked as reduced images."""
    resolution = None if mpp is None else (10000 / mpp, 10000 / mpp)
    with tifffile.TiffWriter(path, byteorder=byteorder, bigtiff=more.pop("bigtiff", False)) as file:
        for i, level in enumerate(levels):
            extra = {} if mpp is None else {"resolution": resolution, "resolutionunit": "CENTIMETER"}
            file.write(
                level,
                tile=(tile, tile) if isinstance(tile, int) else tile,
                photometric="minisblack" if level.ndim == 2 else more.get("photometric", "rgb"),
                compression=compression,
                compressionargs=more.get("compressionargs"),
                predictor=more.get("predictor", False),
                subsampling=more.get("subsampling"),
                subfiletype=1 if i else 0,
                description=description if not i or more.get("describe_all") else None,
                metadata=None,
                software=more.get("software", False),
                **extra,
            )
    return path
