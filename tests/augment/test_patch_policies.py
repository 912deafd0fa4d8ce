"""Policies for patches: what they draw, and that nothing but the generator decides it."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, fields, replace

import numpy as np
import pytest
import torch

import fastwsi
from fastwsi import kernels
from fastwsi.augment import Augment, Liu2017Augment, PcamAugment, PfaAugment, generator
from kernels.arrays import tissue

POLICIES = [
    Liu2017Augment(size=(40, 40), jitter=4),
    PcamAugment(size=(40, 40)),
    Augment(size=(40, 40), jitter=3, hue=(-0.1, 0.1), noise_sigma=(0, 0.1), contrast=(0.5, 1.5)),
]
TILES = tissue(np.random.default_rng(0), (6, 48, 48))


def ids(policy):
    return type(policy).__name__


@pytest.mark.parametrize("policy", POLICIES, ids=ids)
def test_an_image_does_not_depend_on_its_batch_on_threads_or_on_order(policy):
    fastwsi.set_num_threads(1)
    alone = [policy(TILES[i : i + 1], [generator(3, 0, i)])[0] for i in range(6)]
    for threads in (1, 3):
        fastwsi.set_num_threads(threads)
        for order in (range(6), (5, 0, 3, 1, 4, 2), (2, 2, 4)):
            batch = policy([TILES[i] for i in order], [generator(3, 0, i) for i in order])
            for row, i in zip(batch, order, strict=True):
                np.testing.assert_array_equal(row, alone[i])
    assert not np.array_equal(alone[0], policy(TILES[:1], [generator(3, 1, 0)])[0]), "another epoch"
    assert not np.array_equal(alone[0], policy(TILES[:1], [generator(4, 0, 0)])[0]), "another seed"


class Tiles(torch.utils.data.Dataset):
    """Varies inside the dataset, or leaves it to the collate function."""

    def __init__(self, policy, vary):
        self.policy, self.vary = policy, vary

    def __len__(self):
        return len(TILES)

    def __getitem__(self, index):
        if not self.vary:
            return index, TILES[index]
        return torch.from_numpy(self.policy(TILES[index : index + 1], [generator(9, 0, index)])[0])


def collate(samples):
    policy = POLICIES[0]
    return torch.from_numpy(policy([tile for _, tile in samples], [generator(9, 0, i) for i, _ in samples]))


@pytest.mark.parametrize(("inside", "context"), [(True, "fork"), (False, "fork"), (False, "spawn")])
def test_any_number_of_data_loading_workers_gives_the_same_batches(inside, context):
    epochs = []
    for workers in (0, 1, 2):
        loader = torch.utils.data.DataLoader(
            Tiles(POLICIES[0], inside),
            batch_size=4,
            num_workers=workers,
            collate_fn=None if inside else collate,
            multiprocessing_context=context if workers else None,
        )
        epochs.append(torch.cat(list(loader)))
    assert epochs[0].shape == (6, 3, 40, 40)
    assert all(torch.equal(epoch, epochs[0]) for epoch in epochs)


@pytest.mark.parametrize("policy", POLICIES, ids=ids)
def test_a_batch_is_the_kernel_with_the_parameters_drawn(policy):
    params = policy.draw_batch([generator(1, i) for i in range(6)], [(48, 48)] * 6)
    assert params.count == 6
    expected = kernels.augment_patches(TILES, params, size=(40, 40), mean=policy.mean, std=policy.std)
    found = policy(torch.from_numpy(TILES), [generator(1, i) for i in range(6)])
    np.testing.assert_array_equal(found.numpy(), expected)
    out = np.empty((6, 40, 40, 3), np.uint8)
    assert policy(TILES, [generator(1, i) for i in range(6)], out, layout="NHWC") is out
    bytes_out = kernels.augment_patches(TILES, params, size=(40, 40), dtype="uint8", layout="NHWC")
    np.testing.assert_array_equal(out, bytes_out)


def test_one_generator_is_drawn_from_in_turn():
    policy = POLICIES[0]
    first, second = generator(5), generator(5)
    together = policy(TILES[:2], first)
    apart = np.concatenate([policy(TILES[i : i + 1], second) for i in range(2)])
    np.testing.assert_array_equal(together, apart)


def test_liu_draws_what_the_paper_says():
    policy = Liu2017Augment()
    source = generator(0)
    drawn = [policy.draw(source, (320, 330)) for _ in range(4000)]
    for name, low, high in (
        ("brightness_add", -64 / 255, 64 / 255),
        ("saturation_mul", 0.75, 1.25),
        ("hue", -0.04, 0.04),
        ("contrast", 0.25, 1.75),
    ):
        values = np.array([getattr(params, name) for params in drawn])
        width = high - low
        assert low <= values.min() < low + 0.01 * width, name
        assert high - 0.01 * width < values.max() <= high, name
        assert abs(values.mean() - (low + high) / 2) < 0.03 * width, name
    assert all(p.brightness_mul is None and p.saturation_add is None and p.noise_seed is None for p in drawn)
    counts = np.bincount([p.orientation for p in drawn], minlength=8)
    assert counts.min() > 400
    assert len(counts) == 8
    offsets = np.array([p.origin for p in drawn]) - ((320 - 299) // 2, (330 - 299) // 2)
    assert offsets.min(axis=0).tolist() == [-8, -8]
    assert offsets.max(axis=0).tolist() == [8, 8]
    assert not policy(np.zeros((0, 315, 315, 3), np.uint8), []).size


def test_liu_scales_to_minus_one_and_one_and_clips():
    batch = Liu2017Augment()(tissue(np.random.default_rng(1), (8, 315, 315)), generator(2))
    assert batch.min() == -1
    assert batch.max() == 1


def test_pcam_keeps_colours_but_for_its_noise():
    tiles = np.full((50, 40, 40, 3), 100, np.uint8)
    batch = PcamAugment(size=(40, 40))(tiles, generator(0), dtype="uint8", layout="NHWC")
    changed = (batch != 100).any(axis=-1).mean()
    assert 0.018 < changed < 0.022
    still = PcamAugment(size=(40, 40), noise_fraction=0)(TILES, generator(0), dtype="uint8", layout="NHWC")
    assert [np.sort(tile, axis=None).tolist() for tile in still] == [
        np.sort(tile[4:-4, 4:-4], axis=None).tolist() for tile in TILES
    ]


def test_changing_one_range_leaves_the_other_draws_alone():
    one = Augment(size=(40, 40), jitter=3, hue=(0, 0.1))
    other = replace(one, jitter=0, brightness_mul=(0.5, 1), noise_fraction=(0, 0.5))
    for seed in range(20):
        a, b = one.draw(generator(seed), (48, 48)), other.draw(generator(seed), (48, 48))
        assert (a.orientation, a.hue) == (b.orientation, b.hue)
        assert b.origin == (4, 4)


@pytest.mark.parametrize(
    "policy",
    [*POLICIES, PfaAugment(), fastwsi.augment.ChuangAugment(), fastwsi.augment.PinckaersAugment()],
    ids=ids,
)
def test_policies_are_small_frozen_and_show_themselves(policy):
    text = repr(policy)
    assert all(f"{field.name}=" in text for field in fields(policy))
    namespace = {type(policy).__name__: type(policy)}
    assert eval(text, namespace) == policy
    assert pickle.loads(pickle.dumps(policy)) == policy
    with pytest.raises(FrozenInstanceError):
        policy.size = 3
    assert type(policy).__doc__.count("\n") > 5


def test_masks_go_where_their_pixels_go():
    """A region whose red channel is its own mask: what comes out must still agree."""
    rng = np.random.default_rng(0)
    masks = (rng.random((3, 30, 30)) > 0.5).repeat(12, axis=1).repeat(12, axis=2).astype(np.uint8)
    regions = np.full((3, 360, 360, 3), 200, np.uint8)
    regions[..., 0] = masks * 255
    policy = PfaAugment(
        size=200, mask_size=120, brightness=(1, 1), contrast=(1, 1), saturation=(1, 1), hue=0, jitter=20
    )
    patches, labels = policy(regions, [generator(0, i) for i in range(3)], masks)
    assert patches.shape == (3, 3, 200, 200)
    centre = patches[:, 0, 40:160, 40:160]
    sharp = (centre < 0.02) | (centre > 0.98)  # between the squares a pixel is a mixture
    assert sharp.mean() > 0.5
    np.testing.assert_array_equal(labels[sharp], (centre > 0.5)[sharp])
    without, nothing = policy(torch.from_numpy(regions), [generator(0, i) for i in range(3)])
    assert nothing is None
    np.testing.assert_array_equal(without.numpy(), patches)


def test_pfa_magnifies_turns_and_shifts_within_its_ranges():
    policy = PfaAugment()
    source = generator(0)
    for _ in range(300):
        matrix, colour = policy.draw(source, (900, 800))
        linear = np.array(matrix)[:, :2]
        magnification = 1 / np.sqrt(abs(np.linalg.det(linear)))
        assert 0.8 <= magnification <= 1.25
        np.testing.assert_allclose(linear @ linear.T, np.eye(2) / magnification**2, atol=1e-12)
        middle = linear @ [345.5, 345.5] + np.array(matrix)[:, 2] - (449.5, 399.5)
        assert np.abs(middle).max() <= 32.5
        assert 0.75 <= colour.contrast <= 1.25


def test_contact_sheets_are_png_files_and_start_with_the_image(tmp_path):
    import struct
    import zlib

    image = TILES[0]
    path = tmp_path / "sheet.png"
    sheet = POLICIES[0].contact_sheet(path, image, rows=2, columns=3)
    assert sheet.shape == (2 * 44 + 4, 3 * 44 + 4, 3)
    np.testing.assert_array_equal(sheet[4:44, 4:44], image[4:44, 4:44])
    assert not np.array_equal(sheet[4:44, 48:88], image[4:44, 4:44])
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    at, pixels = 8, b""
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + 8 + length]
        assert struct.unpack(">I", data[at + 8 + length : at + 12 + length])[0] == zlib.crc32(kind + body)
        if kind == b"IHDR":
            assert struct.unpack(">IIBBBBB", body) == (sheet.shape[1], sheet.shape[0], 8, 2, 0, 0, 0)
        pixels += body if kind == b"IDAT" else b""
        at += length + 12
    rows = np.frombuffer(zlib.decompress(pixels), np.uint8).reshape(sheet.shape[0], -1)
    assert (rows[:, 0] == 0).all()
    np.testing.assert_array_equal(rows[:, 1:].reshape(sheet.shape), sheet)


@pytest.mark.parametrize("policy", [Liu2017Augment(), PcamAugment(), PfaAugment(), Augment()], ids=ids)
def test_contact_sheets_need_no_picture(policy):
    sheet = policy.contact_sheet(rows=1, columns=2)
    assert sheet.dtype == np.uint8
    assert 20 < sheet.mean() < 235


def test_what_is_wrong_is_said():
    policy = POLICIES[0]
    with pytest.raises(ValueError, match="image 1: got 47 x 48 pixels, expected at least 48 x 48"):
        policy([TILES[0], TILES[1, :, :47]], generator(0))
    with pytest.raises(ValueError, match=r"images: got shape \(48, 48, 3\), expected \(batch"):
        policy(TILES[0], generator(0))
    with pytest.raises(TypeError, match="images: got NoneType, expected"):
        policy(None, generator(0))
    with pytest.raises(TypeError, match=r"generators: got int, expected a numpy.random.Generator"):
        policy(TILES, 3)
    with pytest.raises(ValueError, match="generators: got 2, expected 6, one per image"):
        policy(TILES, [generator(0), generator(1)])
    with pytest.raises(ValueError, match="seed and key: got"):
        generator(-1)
    with pytest.raises(ValueError, match=r"hue: got \(0.1, -0.1\), expected \(low, high\)"):
        Augment(hue=(0.1, -0.1))
    with pytest.raises(ValueError, match="contrast: got 3, expected"):
        Augment(contrast=3)
    with pytest.raises(ValueError, match=r"brightness: got -0.1, expected a finite number of at least 0"):
        Liu2017Augment(brightness=-0.1)
    with pytest.raises(ValueError, match="jitter: got 4 without a size"):
        Augment(jitter=4)
    with pytest.raises(ValueError, match=r"jitter: got 1.5, expected a whole number"):
        Liu2017Augment(jitter=1.5)
    with pytest.raises(ValueError, match="mask_size: got 513 for patches of 692 pixels"):
        PfaAugment(mask_size=513)
    with pytest.raises(ValueError, match=r"scale: got \(0, 1\), expected numbers from 0.01 to 100"):
        PfaAugment(scale=(0, 1))
    with pytest.raises(ValueError, match="rotation: got None, expected"):
        PfaAugment(rotation=None)
    with pytest.raises(ValueError, match=r"brightness_mul: got \(-0.1, 2\), expected numbers from 0 to inf"):
        Augment(brightness_mul=(-0.1, 2))
    with pytest.raises(ValueError, match="noise_fraction: got 2, expected at most 1"):
        PcamAugment(noise_fraction=2)
    with pytest.raises(ValueError, match=r"contrast: got \(-1, 1\), expected numbers from 0"):
        PfaAugment(contrast=(-1, 1))
    with pytest.raises(ValueError, match=r"image 1: got shape \(48, 48\), expected \(height, width, 3\)"):
        PfaAugment(size=40, mask_size=20)([TILES[0], TILES[1, ..., 0]], generator(0))
    with pytest.raises(TypeError, match="image 0: mask: got dtype bool, expected uint8"):
        PfaAugment(size=40, mask_size=20)(TILES, generator(0), np.zeros((6, 48, 48), bool))
    with pytest.raises(ValueError, match="image 0: mask: got shape"):
        PfaAugment(size=40, mask_size=20)(TILES, generator(0), np.zeros((6, 40, 48), np.uint8))
    with pytest.raises(ValueError, match="masks: got 5, expected 6"):
        PfaAugment(size=40, mask_size=20)(TILES, generator(0), np.zeros((5, 48, 48), np.uint8))


def test_every_spelling_of_a_dtype_is_understood():
    policy = POLICIES[0]
    expected = policy(TILES, generator(0), dtype="uint8", layout="NHWC")
    for dtype in (np.uint8, "u1", torch.uint8, np.dtype("uint8")):
        np.testing.assert_array_equal(policy(TILES, generator(0), dtype=dtype, layout="NHWC"), expected)


def test_ranges_given_as_lists_are_the_same_policy():
    one, other = (
        Augment(hue=[-0.1, 0.1], lightness=[0.9, 1.1]),
        Augment(hue=(-0.1, 0.1), lightness=(0.9, 1.1)),
    )
    assert one == other
    assert hash(one) == hash(other)
    drawn = [one.draw(generator(i), (9, 9)).lch_mul for i in range(200)]
    assert all(0.9 <= lightness <= 1.1 for lightness, _, _ in drawn)
    assert {factors[1:] for factors in drawn} == {(1.0, 1.0)}
    assert max(lightness for lightness, _, _ in drawn) > 1.05


def test_pfa_turns_hues_both_ways():
    source = generator(0)
    hues = np.array([PfaAugment().draw(source, (900, 900))[1].hue for _ in range(300)])
    assert hues.min() < -0.035
    assert hues.max() > 0.035
