"""FROC: the official script's numbers, cases by hand, and what must hold of any curve."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastwsi.evaluation import FrocWarning, SlideMatch, froc, label_lesions, match_detections
from reference import froc as reference

pytestmark = pytest.mark.filterwarnings("ignore::fastwsi.evaluation.FrocWarning")
DOWN = 32

# Scores that collide, in float64 and in float32 alone.
SCORES = st.one_of(
    st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.7, 1.0, 0.7 + 1e-9, 0.3 - 1e-9]),
    st.floats(0, 1, width=32),
    st.floats(1e-12, 1),
)


def slide(seed, scores, tumour):
    """Random lesions, and detections at random places, half of them on lesions."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((60, 80), bool)
    for _ in range(rng.integers(1, 5)):
        x, y, r = rng.integers(0, 80), rng.integers(0, 60), rng.integers(1, 14)
        mask[max(0, y - r) : y + r, max(0, x - r) : x + r] = True
    rows, columns = np.nonzero(mask)
    points = []
    for score in scores:
        on = rng.random() < 0.5
        at = rng.integers(len(rows))
        x, y = (columns[at], rows[at]) if on else (rng.integers(80), rng.integers(60))
        points.append((score, x * DOWN + rng.integers(DOWN), y * DOWN + rng.integers(DOWN)))
    return points, mask if tumour else None


SLIDES = st.lists(
    st.tuples(st.integers(0, 2**32 - 1), st.lists(SCORES, max_size=12), st.booleans()), min_size=1, max_size=6
)


@settings(max_examples=150)
@given(SLIDES)
def test_official_is_the_script_number_for_number(slides):
    ours, theirs = [], []
    for each in slides:
        points, mask = slide(*each)
        lesions = None if mask is None else label_lesions(mask)
        ours.append(match_detections(points, lesions))
        labels = None if mask is None else reference.lesion_mask(mask, 0.243 * 32)
        itc = [] if mask is None else reference.isolated(labels, 0.243 * 32)
        theirs.append(reference.matched(points, labels, itc, DOWN))
    if not sum(count for _, _, count in theirs):
        assert math.isnan(froc(ours, "official").score)
        return
    found = froc(ours, "official")
    rates, sensitivities = reference.curve(theirs)
    # The script lists a threshold that lets nothing more through again; the points are the same.
    wanted = sorted(set(zip(rates.tolist(), sensitivities.tolist(), strict=True)))
    assert sorted(set(zip(found.fp_rates.tolist(), found.tp_rates.tolist(), strict=True))) == wanted
    assert found.sensitivities == tuple(reference.score(theirs).tolist())


def matches_of(draw_slides):
    return [
        SlideMatch(np.asarray(fp), np.asarray(tp), len(tp), name=f"slide {i}")
        for i, (fp, tp) in enumerate(draw_slides)
    ]


PLAIN = st.lists(
    st.tuples(
        st.lists(st.floats(0.01, 1), max_size=12), st.lists(st.sampled_from([0, 0.2, 0.5, 0.9]), max_size=3)
    ),
    min_size=1,
    max_size=6,
).filter(lambda slides: any(tp for _, tp in slides))


class TestClean:
    def test_by_hand(self):
        """Two slides; false 0.8, 0.6 and 0.6; lesions 0.9, 0.6 and missed."""
        found = froc([SlideMatch([0.8], [0.9, 0.6, 0], 3), SlideMatch([0.6, 0.6], [], 0)])
        assert found.thresholds.tolist() == [math.inf, 0.9, 0.8, 0.6]
        assert found.fp_rates.tolist() == [0, 0, 0.5, 1.5]
        assert found.tp_rates.tolist() == pytest.approx([0, 1 / 3, 1 / 3, 2 / 3])
        # At 1, halfway between 0.5 and 1.5.
        assert found.sensitivities == pytest.approx((1 / 3, 1 / 3, 1 / 2, 2 / 3, 2 / 3, 2 / 3))
        assert found.score == pytest.approx(np.mean([1 / 3, 1 / 3, 1 / 2, 2 / 3, 2 / 3, 2 / 3]))
        assert found.at_8_fp == pytest.approx(2 / 3)
        assert found.sensitivity_at(1) == pytest.approx(0.5)
        assert (found.n_slides, found.n_negative, found.n_lesions, found.n_itc) == (2, 1, 3, 0)

    def test_per_slide_without_tumour(self):
        """The first slide's false positive does not count, and one slide is without tumour."""
        slides = [SlideMatch([0.8], [0.9, 0.6, 0], 3), SlideMatch([0.6, 0.6], [], 0)]
        found = froc(slides, fp_axis="tumour_negative")
        assert found.fp_rates.tolist() == [0, 0, 2]
        assert found.tp_rates.tolist() == pytest.approx([0, 1 / 3, 2 / 3])

    def test_official_by_hand(self):
        """Nothing is missed, so that the smallest score, 0.6, is no threshold."""
        found = froc([SlideMatch([0.8], [0.9, 0.6], 2), SlideMatch([0.7], [], 0)], "official")
        assert found.fp_rates.tolist() == [0, 0, 0.5, 1]
        assert found.tp_rates.tolist() == [0, 0.5, 0.5, 0.5]
        assert found.mode == "official"
        missed = froc([SlideMatch([0.8], [0.9, 0.6, 0], 3), SlideMatch([0.7], [], 0)], "official")
        assert missed.tp_rates.tolist() == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3, 2 / 3])

    def test_a_perfect_detector_scores_1(self):
        assert froc([SlideMatch([], [0.5, 0.9], 2), SlideMatch([], [], 0)]).score == 1

    def test_a_blind_one_scores_0(self):
        found = froc([SlideMatch([], [0, 0], 2), SlideMatch([], [], 0)])
        assert found.score == 0
        assert found.thresholds.tolist() == [math.inf]

    def test_slides_without_detections_count(self):
        one = SlideMatch([0.9, 0.8], [0.5], 1)
        alone, among = froc([one]), froc([one, *[SlideMatch([], [], 0)] * 3])
        assert alone.fp_rates.max() == 2
        assert among.fp_rates.max() == 0.5

    @given(PLAIN, st.randoms())
    def test_the_order_of_slides_does_not_matter(self, slides, random):
        matches = matches_of(slides)
        mixed = matches.copy()
        random.shuffle(mixed)
        for mode in ("clean", "official"):
            assert froc(mixed, mode).sensitivities == froc(matches, mode).sensitivities

    @given(PLAIN)
    def test_monotone_transforms_change_nothing(self, slides):
        squeezed = [([fp**3 / 2 for fp in fps], [tp**3 / 2 for tp in tps]) for fps, tps in slides]
        assert froc(matches_of(squeezed)).sensitivities == froc(matches_of(slides)).sensitivities

    @given(PLAIN, st.integers(0, 5), st.floats(0.01, 1))
    def test_a_false_positive_more_never_helps(self, slides, where, score):
        worse = [(list(fp), list(tp)) for fp, tp in slides]
        worse[where % len(worse)][0].append(score)
        before, after = froc(matches_of(slides)), froc(matches_of(worse))
        assert all(b <= a + 1e-12 for a, b in zip(before.sensitivities, after.sensitivities, strict=True))

    @given(PLAIN)
    def test_curves_rise(self, slides):
        found = froc(matches_of(slides))
        assert (np.diff(found.fp_rates) >= 0).all()
        assert (np.diff(found.tp_rates) >= 0).all()
        assert (np.diff(found.thresholds) < 0).all()
        assert found.tp_rates[-1] <= 1


class TestMatching:
    MASK = np.zeros((50, 50), bool)
    MASK[5:45, 5:25] = True  # a lesion
    MASK[10:12, 40:42] = True  # isolated cells

    def test_by_hand(self):
        lesions = label_lesions(self.MASK)
        points = [
            (0.9, 320, 320), (0.95, 350, 350),  # twice on the lesion
            (0.8, 41 * 32, 11 * 32),  # on the isolated cells
            (0.7, 35 * 32, 40 * 32),  # on nothing
            (0.6, 50 * 32, 0), (0.6, -1, 5), (0.6, 0, -32), (0.6, 0, 1e9),  # outside
            (0.0, 330, 330),
        ]  # fmt: skip
        found = match_detections(points, lesions, name="slide")
        assert found.fp_scores.tolist() == [0.7]
        assert found.tp_scores.tolist() == [0.95, 0]
        assert found.n_lesions == 1
        assert found.itc_scores.tolist() == [0.8]
        assert sorted(found.hit_scores.tolist()) == [0.9, 0.95]
        assert (found.on_itc, found.outside, found.tumour) == (1, 4, True)
        assert found.sizes == ("micro", "itc")
        assert found.row()["slide"] == "slide"

    def test_places_are_cut_not_rounded(self):
        mask = np.zeros((60, 60), bool)
        mask[10:50, 10:50] = True
        lesions = label_lesions(mask)
        edge = int(np.nonzero(lesions.labels[15])[0][-1])
        found = match_detections([(0.5, edge * 32 + 31.9, 15 * 32), (0.4, edge * 32 + 32, 15 * 32)], lesions)
        assert found.tp_scores.tolist() == [0.5]
        assert found.fp_scores.tolist() == [0.4]

    def test_a_slide_without_tumour(self):
        found = match_detections([(0.4, 9, 9)], None)
        assert found.fp_scores.tolist() == [0.4]
        assert not found.tumour
        assert match_detections([], None).fp_scores.size == 0

    def test_outside(self):
        """Of a slide whose size is known, of one whose mask is a part of it, and of one without a mask."""
        lesions = label_lesions(self.MASK)
        points = [(0.9, 2000, 5), (0.8, 5, 5), (0.7, -1, 5)]
        known, part = match_detections(points, lesions), match_detections(points, lesions, whole=False)
        assert (known.fp_scores.tolist(), known.outside) == ([0.8], 2)
        assert (part.fp_scores.tolist(), part.outside) == ([0.9, 0.8], 1)
        assert match_detections(points, None).outside == 0
        assert match_detections(points, None, size=(1000, 1000)).fp_scores.tolist() == [0.8]

    def test_a_tumour_slide_whose_mask_is_empty(self):
        empty = label_lesions(np.zeros((50, 50), bool))
        assert not match_detections([], empty).tumour
        assert match_detections([], empty, tumour=True).tumour

    def test_matches_keep_their_own_arrays(self):
        scores = np.array([0.5])
        match = SlideMatch(scores, [], 0)
        scores[0] = 9
        assert match.fp_scores.tolist() == [0.5]
        with pytest.raises(ValueError, match="read-only"):
            match.fp_scores[0] = 1

    @pytest.mark.parametrize(
        ("points", "message"),
        [
            ([(1, 2)], r"detections: got shape \(1, 2\), expected \(n, 3\)"),
            ([(-0.5, 2, 3)], "detections: got the score -0.5, expected finite ones of at least 0"),
            ([(0.5, math.nan, 3)], "detections: got .* in row 0, expected finite numbers"),
        ],
    )
    def test_wrong_detections(self, points, message):
        with pytest.raises(ValueError, match=message):
            match_detections(points, None)

    def test_wrong_matches(self):
        with pytest.raises(ValueError, match="n_lesions: got 3 of 2 tp_scores"):
            SlideMatch([], [0.1, 0.2], 3)
        with pytest.raises(ValueError, match="tp_scores: got 2 above 0, expected at most n_lesions, 1"):
            SlideMatch([], [0.1, 0.2], 1)
        with pytest.raises(ValueError, match="fp_scores: got the score inf"):
            SlideMatch([math.inf], [], 0)
        for other, message in (
            ({"sizes": ("Macro",)}, "sizes: got"),
            ({"sizes": ("macro", "micro")}, "sizes: got"),
            ({"sizes": ("itc",)}, "sizes: got 1 that are ITC, expected 0"),
            ({"itc_scores": [0.5]}, "itc_scores: got 1, expected 0"),
            ({"hit_lesions": [0]}, "hit_lesions, hit_scores: got one of them"),
            ({"hit_lesions": [5], "hit_scores": [0.5]}, r"hit_lesions: got \[5\]"),
            ({"hit_lesions": [0], "hit_scores": [0.4]}, "hit_scores: got others than tp_scores"),
        ):
            with pytest.raises(ValueError, match=message):
                SlideMatch([], [0.5], 1, **other)
        for wrong in (5, [(0.5, 1)], SlideMatch([], [], 0)):
            with pytest.raises(TypeError, match=r"matches: got .*, expected SlideMatch objects"):
                froc(wrong)


def test_sizes_have_sensitivities_of_their_own():
    mask = np.zeros((60, 400), bool)
    mask[20:40, 10:310] = True
    mask[20:40, 330:360] = True
    mask[5, 390] = True
    lesions = label_lesions(mask)
    slides = [
        match_detections([(0.9, 100 * 32, 30 * 32), (0.5, 390 * 32, 5 * 32)], lesions, name="a"),
        match_detections([(0.7, 0, 0)] * 9, None, name="b"),
    ]
    found = froc(slides)
    assert [(row["size"], row["lesions"]) for row in found.by_size] == [
        ("macro", 1),
        ("micro", 1),
        ("itc", 1),
    ]
    assert [row["sensitivities"][0] for row in found.by_size] == [1, 0, 0]
    assert found.sensitivities[0] == 0.5
    assert (found.n_lesions, found.n_itc) == (2, 1)


@pytest.mark.parametrize("mode", ["clean", "official"])
@given(PLAIN)
def test_one_size_alone_has_the_curve_of_all(mode, slides):
    matches = [SlideMatch(fp, tp, len(tp), sizes=("macro",) * len(tp)) for fp, tp in slides]
    found = froc(matches, mode)
    assert found.by_size[0]["sensitivities"] == pytest.approx(list(found.sensitivities), abs=1e-12)


def test_isolated_cells_found_below_the_last_threshold():
    found = froc(
        [SlideMatch([0.95], [0.9, 0], 1, sizes=("macro", "itc"), itc_scores=[0.5]), SlideMatch([], [], 0)]
    )
    assert found.by_size[1]["sensitivities"] == [0, 1, 1, 1, 1, 1]  # at 0.5, where 0.95 is false


class TestNotes:
    def test_a_curve_cut_off_by_the_threshold(self):
        with pytest.warns(FrocWarning, match="the curve ends at 0.5 false positives per slide"):
            found = froc([SlideMatch([0.6], [0.9, 0], 2), SlideMatch([], [], 0)])
        assert "a lower threshold of detection" in repr(found)

    def test_no_lesions(self):
        with pytest.warns(FrocWarning, match="no lesions"):
            found = froc([SlideMatch([0.6], [], 0)])
        assert math.isnan(found.score)
        assert json.loads(found.to_json())["score"] is None

    def test_arguments(self):
        one = SlideMatch([], [0.5], 1)
        for arguments, message in (
            (([],), "matches: got no slides"),
            (([one], "fast"), "mode: got 'fast', expected one of clean, official"),
        ):
            with pytest.raises(ValueError, match=message):
                froc(*arguments)
        with pytest.raises(ValueError, match="fp_axis: got 'some'"):
            froc([one], fp_axis="some")
        with pytest.raises(ValueError, match="the official script divides by all slides"):
            froc([one, SlideMatch([], [], 0)], "official", fp_axis="tumour_negative")
        with pytest.raises(ValueError, match="no slide without tumour"):
            froc([one], fp_axis="tumour_negative")


def test_printed_and_saved(tmp_path):
    found = froc([SlideMatch([0.8], [0.9], 1, name="a"), SlideMatch([], [], 0, name="b")], "official")
    assert "official" in repr(found)
    found.save(tmp_path / "froc.json")
    told = json.loads((tmp_path / "froc.json").read_text())
    assert told["mode"] == "official"
    assert [row["slide"] for row in told["slides"]] == ["a", "b"]
    found.save(tmp_path / "froc.csv")
    header, first, *_ = (tmp_path / "froc.csv").read_text().splitlines()
    assert header == "mode,fp_axis,threshold,false_positives_per_slide,sensitivity"
    assert first == "official,all,,0.0,0.0"
    with pytest.raises(ValueError, match=r"got 'froc.txt', expected a name that ends in .json or .csv"):
        found.save(tmp_path / "froc.txt")
