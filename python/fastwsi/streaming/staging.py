"""The next band on its way to the device while the device computes on this one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fastwsi.streaming.sources import Box


def on_device(
    read: Callable[[Box], torch.Tensor], boxes: Sequence[Box], device: torch.device
) -> Iterator[torch.Tensor]:
    """Give the pixels of each box, on a device.

    For a GPU a box is read, put into pinned memory and sent on a stream of its own once the work on the box
    before is queued: the host reads while the device computes, and neither waits for the other.

    Examples
    --------
    >>> from fastwsi.streaming.sources import Box
    >>> read = lambda box: torch.full((1, box.bottom - box.top, 2, 3), box.top)
    >>> boxes = [Box(0, 4, 0, 2), Box(4, 8, 0, 2)]
    >>> [int(pixels[0, 0, 0, 0]) for pixels in on_device(read, boxes, torch.device("cpu"))]
    [0, 4]
    """
    if device.type != "cuda":
        for box in boxes:
            yield read(box).to(device)
        return
    side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    for box in boxes:
        pixels = read(box)
        if pixels.device.type != "cpu":
            yield pixels.to(device)
            continue
        pinned = pixels.pin_memory()
        with torch.cuda.stream(side):
            moved = pinned.to(device, non_blocking=True)
        current = torch.cuda.current_stream(device)
        current.wait_stream(side)
        moved.record_stream(current)
        yield moved
