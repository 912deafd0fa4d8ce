"""What the streaming benchmark writes down: tables in Markdown, and each floor beside what was measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.streaming_step import Figures
    from benchmarks.streaming_subject import Spec

GIB = 2**30
MIB = 2**20
TIME_SIZES = (2048, 4096)  # the floors on time are for these
MEMORY_SIZE = 4096
OF_WHOLE, OF_WIDE_BANDS, OF_LIGHTSTREAM = 1.25, 1.10, 1.6
PEAK_GIB, FLATNESS, SKIPPED = 0.8, 0.05, 0.40
ESTIMATE_SHARE, ESTIMATE_BYTES = 0.20, 100 * MIB
NARROW, WIDE = 64, 256


@dataclass(frozen=True)
class Result:
    """What was measured of one spec.

    Attributes
    ----------
    spec : Spec
    rounds : list of Figures
        Empty where it could not be measured.
    difference : float, optional
        The largest, over the parameters, of ||a - b|| / ||b|| of the gradients, b the reference's.
    problem : str
        Why there are no rounds.
    """

    spec: Spec
    rounds: list[Figures] = field(default_factory=list)
    difference: float | None = None
    problem: str = ""

    @property
    def cpu(self) -> float:
        return median(each.cpu for each in self.rounds)

    @property
    def wall(self) -> float:
        return median(each.wall for each in self.rounds)

    @property
    def peak(self) -> int:
        return max(each.peak for each in self.rounds)

    @property
    def without_outputs(self) -> int:
        """The peak less the features and their gradient, which any method holds."""
        return self.peak - 2 * self.rounds[0].outputs


@dataclass(frozen=True)
class Verdict:
    """A figure beside its floor."""

    what: str
    measured: str
    floor: str
    met: bool


def name_of(spec: Spec, setting: str = "") -> str:
    names = {
        "whole": "whole image",
        "checkpoint": "checkpoint per block",
        "checkpoint with stem": "checkpoint per block, and of the stem",
        "streamed": f"fastwsi.Streamed, {spec.rows} rows",
        "lightstream": f"lightstream, {spec.across} x {spec.across} tiles{setting and f' of {setting}'}",
    }
    parts = [names[spec.method]]
    if spec.trained_affine:
        parts.append("affine trained")
    if spec.silu:
        parts.append("SiLU")
    if spec.image == "generated":
        parts.append("generated source")
    if spec.image == "island":
        parts.append("background skipped" if spec.skipping else "background computed")
    return ", ".join(parts)


def layout_name(spec: Spec) -> str:
    return "channels last" if spec.channels_last else "NCHW"


def size_name(spec: Spec) -> str:
    return f"{spec.width} wide x {spec.height} high"


def found(results: Sequence[Result], **wanted: object) -> Result | None:
    """Return the first measured result whose spec has these values; none of the others set apart."""
    defaults = {"trained_affine": False, "silu": False, "image": "tensor", "skipping": False}
    for result in results:
        if result.rounds and all(
            getattr(result.spec, key) == each for key, each in (defaults | wanted).items()
        ):
            return result
    return None


def whole_of(results: Sequence[Result], spec: Spec) -> Result | None:
    """Return the whole image's result to compare with, of the same size, layout and network."""
    same = ("height", "width", "channels_last", "trained_affine", "silu", "image")
    return found(results, method="whole", **{key: getattr(spec, key) for key in same})


def best_lightstream(results: Sequence[Result], spec: Spec) -> Result | None:
    """Return lightstream's fastest result, of the same size and layout."""
    same = ("height", "width", "channels_last")
    candidates = [
        each
        for each in results
        if each.rounds
        and each.spec.method == "lightstream"
        and all(getattr(each.spec, key) == getattr(spec, key) for key in same)
    ]
    return min(candidates, key=lambda each: each.cpu, default=None)


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def memory(value: float) -> str:
    return f"{value / GIB:.2f} GiB" if value >= GIB / 10 else f"{value / MIB:.0f} MiB"


def table(results: Sequence[Result]) -> list[str]:
    """Lay out the results of one size."""
    spec = results[0].spec
    columns = [
        size_name(spec), "layout", "CPU time", "wall", "of the whole image's CPU time", "peak memory",
        "of the whole image's", "gradients differ by",
    ]  # fmt: skip
    text = [row(*columns), "|---" * len(columns) + "|"]
    for each in results:
        setting = each.rounds[0].setting if each.rounds else ""
        names = (name_of(each.spec, setting), layout_name(each.spec))
        if not each.rounds:
            text.append(row(*names, each.problem, *[""] * 5))
            continue
        whole = whole_of(results, each.spec)
        beside = None if whole is each else whole
        text.append(
            row(
                *names,
                f"{each.cpu:.2f} s",
                f"{each.wall:.2f} s",
                f"{each.cpu / beside.cpu:.2f}" if beside else "",
                memory(each.peak),
                f"{each.peak / beside.peak:.2f}" if beside else "",
                "" if each.difference is None else f"{each.difference:.0e}",
            )
        )
    return text


def plain(result: Result) -> bool:
    """Tell whether a result is fastwsi's on the plain network and image, to which most floors apply."""
    spec = result.spec
    bare = not (spec.trained_affine or spec.silu or spec.skipping)
    return bool(result.rounds) and spec.method == "streamed" and bare and spec.image == "tensor"


def time_verdicts(results: Sequence[Result], result: Result) -> list[Verdict]:
    spec = result.spec
    if spec.height != spec.width or spec.height not in TIME_SIZES or not plain(result):
        return []
    label = f"CPU time, {spec.height}², {layout_name(spec)}, {spec.rows} rows"
    verdicts = []
    whole = whole_of(results, spec)
    if whole is not None and spec.rows != NARROW:  # narrow bands have a floor of their own
        ratio = round(result.cpu / whole.cpu, 2)
        verdicts.append(
            Verdict(f"{label}, of the whole image's", f"{ratio:.2f}", f"{OF_WHOLE}", ratio <= OF_WHOLE)
        )
    same = {"height": spec.height, "width": spec.width, "channels_last": spec.channels_last}
    wide = found(results, method="streamed", rows=WIDE, **same)
    if wide is not None and spec.rows == NARROW:
        ratio = round(result.cpu / wide.cpu, 2)
        what = f"{label}, of {WIDE} rows'"
        verdicts.append(Verdict(what, f"{ratio:.2f}", f"{OF_WIDE_BANDS:.2f}", ratio <= OF_WIDE_BANDS))
    peer = best_lightstream(results, spec)
    if peer is not None and spec.rows == WIDE:
        ratio = round(peer.cpu / result.cpu, 2)
        what = f"{label}, faster than lightstream in {peer.spec.across} x {peer.spec.across} tiles by"
        verdicts.append(Verdict(what, f"{ratio:.2f} x", f"{OF_LIGHTSTREAM} x", ratio >= OF_LIGHTSTREAM))
    return verdicts


def memory_verdicts(results: Sequence[Result], result: Result) -> list[Verdict]:
    del results
    spec, verdicts = result.spec, []
    label = f"{spec.height} x {spec.width}, {layout_name(spec)}, {name_of(spec)}"
    if plain(result) and spec.height == spec.width == MEMORY_SIZE:
        gib = round(result.peak / GIB, 2)
        verdicts.append(
            Verdict(f"peak memory, {label}", f"{gib:.2f} GiB", f"{PEAK_GIB} GiB", gib <= PEAK_GIB)
        )
    estimate = result.rounds[0].estimate if result.rounds else None
    if estimate is not None:
        allowed = max(ESTIMATE_SHARE * result.peak, ESTIMATE_BYTES)
        verdicts.append(
            Verdict(
                f"estimated peak, {label}",
                f"{memory(estimate)} of {memory(result.peak)}",
                "20 % or 100 MiB",
                abs(estimate - result.peak) <= allowed,
            )
        )
    return verdicts


def flat_verdicts(results: Sequence[Result], result: Result) -> list[Verdict]:
    spec = result.spec
    if spec.image != "generated" or spec.height == spec.width or not result.rounds:
        return []
    keys = {"image": "generated", "rows": spec.rows, "width": spec.width, "channels_last": spec.channels_last}
    square = found(results, method="streamed", height=spec.width, **keys)
    if square is None:
        return []
    grown = result.without_outputs / square.without_outputs - 1
    return [
        Verdict(
            f"peak less outputs and their gradient, {size_name(spec)} beside {spec.width}², {spec.rows} rows",
            f"{memory(result.without_outputs)} beside {memory(square.without_outputs)}: {grown:+.1%}",
            "5 %",
            round(abs(grown), 3) <= FLATNESS,
        )
    ]


def skipping_verdicts(results: Sequence[Result], result: Result) -> list[Verdict]:
    spec = result.spec
    if not spec.skipping or not result.rounds:
        return []
    keys = ("height", "width", "rows", "channels_last", "image")
    computed = found(results, method="streamed", **{key: getattr(spec, key) for key in keys})
    if computed is None:
        return []
    share = round(result.cpu / computed.cpu, 3)
    what = f"CPU time, {size_name(spec)}, {spec.rows} rows, a square of 25 % among background, of no skipping"
    return [Verdict(what, f"{share:.1%}", "under 40 %", share < SKIPPED)]


JUDGES: tuple[Callable[[Sequence[Result], Result], list[Verdict]], ...] = (
    time_verdicts,
    memory_verdicts,
    flat_verdicts,
    skipping_verdicts,
)


def verdicts_on(results: Sequence[Result]) -> list[Verdict]:
    """Judge all results; figures are compared as they are shown."""
    return [verdict for judge in JUDGES for result in results for verdict in judge(results, result)]


def report(facts: str, results: Sequence[Result]) -> str:
    """Lay out all: the tables, one for each size in the order in which they came, and the floors."""
    text = [facts, ""]
    for size in dict.fromkeys(size_name(each.spec) for each in results):
        text += [*table([each for each in results if size_name(each.spec) == size]), ""]
    verdicts = verdicts_on(results)
    if verdicts:
        text += ["| figure | measured | floor | |", "|---|---|---|---|"]
        text += [
            f"| {each.what} | {each.measured} | {each.floor} | {'met' if each.met else '**missed**'} |"
            for each in verdicts
        ]
        met = sum(each.met for each in verdicts)
        text += ["", f"Floors: {met} met, {len(verdicts) - met} missed."]
    else:
        text += ["No floor applies to these sizes."]
    return "\n".join(text) + "\n"
