"""What is left when a call ends early."""

from __future__ import annotations

import pytest
import torch

from fastwsi.streaming import Streamed
from streaming import networks
from streaming.compare import check, flat


@pytest.mark.parametrize("when", ["forward", "backward"])
def test_an_interrupt_leaves_nothing_behind(when):
    trunk = networks.SMALL["resnet18"]()
    image = networks.image(200, 90)
    told = []

    def progress(what, done, total):
        told.append((what, done, total))
        if what == when and done > total // 2:
            raise KeyboardInterrupt

    stream = Streamed(trunk, 32, progress=progress)
    with pytest.raises(KeyboardInterrupt):
        sum(o.sum() for o in flat(stream(image))).backward()
    assert told[-1][0] == when
    assert all(parameter.grad is None for parameter in trunk.parameters())
    progress_again = Streamed(trunk, 32)
    check(trunk, image, None, stream=progress_again)


def test_a_source_that_fails_says_so_itself():
    class Broken:
        height, width = 100, 64

        def rows(self, top, bottom):
            if top >= 64:
                raise OSError("the disk is gone")
            return torch.zeros(bottom - top, 64, 3, dtype=torch.uint8)

    stream = Streamed(networks.SMALL["resnet18"]().float(), 32, mean=(0.5,) * 3, std=(0.5,) * 3)
    with pytest.raises(OSError, match="the disk is gone"):
        stream(Broken())


def test_the_bar_is_shown_and_gone(capfd):
    stream = Streamed(networks.SMALL["resnet18"](), 32, progress=True)
    (output, *_) = flat(stream(networks.image(120, 90)))
    output.sum().backward()
    assert capfd.readouterr().out == ""
