"""Small detectors to scan with, and the slow way to a heatmap: patch by patch, the network as it is."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from fastwsi.detectors import Liu2017
from fastwsi.slides import PatchGrid
from reference.orient import orient
from slides.pyramids import picture

RECIPE = Liu2017.recipes["liu2017-small"].changed(
    {"patch": 75, "centre": 25, "scan.orientations": False, "workers": 0}
)


class Small(nn.Module):
    """Two convolutions with batch norms whose statistics are no longer the initial ones."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 5, stride=3, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, stride=2, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.fc = nn.Linear(8, 2)

    def forward(self, images):
        return self.fc(self.features(images))


def lively(made):
    """Give a detector's batch norms statistics to fold, and scores that differ from patch to patch."""
    for module in made.network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.3, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    side = made.recipe.patch
    patches = [picture(side, side, seed) for seed in range(24)]
    inputs = torch.from_numpy(np.stack(patches).transpose(0, 3, 1, 2).copy()).float() / 127.5 - 1
    if made.recipe.towers > 1:
        inputs = torch.stack([inputs] * made.recipe.towers, 1)
    with torch.no_grad():
        logits = made.network.eval()(inputs)
        apart = logits[:, 1] - logits[:, 0]
        made.network.fc.bias[1] -= apart.mean()
        made.network.fc.weight /= 3 * apart.std()
        made.network.fc.bias /= 3 * apart.std()
    return made


def detector(seed=0, **changes):
    """A detector with small networks, one for each resolution."""
    torch.manual_seed(seed)
    recipe = RECIPE.changed({"mpp": changes.pop("mpp", []), **changes})
    networks = [Small() for _ in range(recipe.towers)]
    return lively(Liu2017(recipe, network=networks[0] if recipe.towers == 1 else networks))


def slowly(members, slide, *, stride=None, tissue=None, min_tissue=0.0, orientations=False, colours=None):
    """Each patch read alone, oriented by numpy, through each network one by one."""
    recipe = members[0].recipe
    finest, *coarser = recipe.mpp or (None,)
    side, stride = recipe.patch, stride or recipe.centre
    grid = PatchGrid(slide, side, stride, finest, tissue, min_tissue=min_tissue)
    heatmap = np.full((grid.rows, grid.columns), np.nan, np.float32)
    networks = [member.network.eval() for member in members]
    for number, (column, row) in enumerate(grid.cells.tolist()):
        patches = [grid.read(number)]
        corner, steps = grid.places([number])[0].tolist(), grid.lattice.scale
        middle = [(at + side / 2) * step for at, step in zip(corner, steps, strict=True)]
        for mpp in coarser:
            lattice = slide.lattice(mpp)
            place = (round(m / s - side / 2 + 1e-9) for m, s in zip(middle, lattice.scale, strict=True))
            patches.append(lattice.read(tuple(place), side))
        if colours is not None:
            patches = [colours(patch) for patch in patches]
        found = []
        for turn in range(8 if orientations else 1):
            turned = np.stack([orient(patch, turn, (0, 1)) for patch in patches])
            inputs = torch.from_numpy(turned.transpose(0, 3, 1, 2).copy()).float() / 127.5 - 1
            with torch.no_grad():
                for network in networks:
                    logits = network(inputs if len(patches) == 1 else inputs[None])
                    found.append(float(logits.softmax(1)[0, 1]))
        heatmap[row, column] = np.mean(found)
    return heatmap


def assert_near(found, wanted, tolerance=1e-5):
    """The same cells scanned, the same scores, and those unlike each other."""
    np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance)
    assert np.nanstd(wanted) > 0.01
