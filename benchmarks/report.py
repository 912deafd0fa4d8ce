"""The tables at the end of a run. Plain text, so that a GPU machine needs no further package."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Any

from benchmarks.measure import Role


@dataclass(frozen=True)
class Line:
    """One contender's result."""

    group: str
    contender: str
    role: Role
    median: float
    minimum: float
    pixels: int
    bytes: int
    floor: float | None
    note: str
    limit: float | None

    @property
    def bandwidth(self) -> float:
        return self.bytes / self.median


@dataclass(frozen=True)
class Verdict:
    """What a line says about ours, and whether a floor was kept (None where there is none)."""

    text: str = ""
    met: bool | None = None


def lines_from(benchmarks: list[Any]) -> list[Line]:
    """Read pytest-benchmark's results; those that failed or were not described are left out."""
    lines = []
    for result in benchmarks:
        info = result.extra_info
        if result.has_error or not result.stats or "contender" not in info:
            continue
        lines.append(
            Line(
                group=info["group"],
                contender=info["contender"],
                role=info["role"],
                median=info.get("seconds_median", result.stats.median),
                minimum=info.get("seconds_min", result.stats.min),
                pixels=info["pixels"],
                bytes=info["bytes"],
                floor=info["floor"],
                note=info["note"],
                limit=info["limit"],
            )
        )
    return lines


def seconds(value: float) -> str:
    """Spell a duration with three to four digits."""
    factor, unit = (1e6, "us") if value < 1e-3 else (1e3, "ms") if value < 1 else (1, "s ")
    return f"{value * factor:.{2 if value * factor < 100 else 1}f} {unit}"


def judged(text: str, floor: str, met: bool) -> Verdict:
    """Add the floor to a text; figures are compared as they are shown."""
    return Verdict(f"{text}, floor {floor}: {'met' if met else 'MISSED'}", met)


def speed_verdict(line: Line, best: Line | None, ceiling: Line | None) -> Verdict:
    """Judge a throughput: ours as a share of the ceiling, a peer by how much faster ours is."""
    if ceiling is not None and line.role == "ours":
        share = line.bandwidth / ceiling.bandwidth
        text = f"{share:.2f} of {ceiling.contender}"
        if line.floor is None:
            return Verdict(text)
        return judged(text, f"{line.floor:.2f}", round(share, 2) >= line.floor)
    if line.role != "peer" or best is None:
        return Verdict()
    ratio = line.median / best.median
    text = f"{best.contender} is "
    text += f"{ratio:.1f}x faster" if ratio >= 1 else f"{1 / ratio:.1f}x slower"
    if line.floor is None:
        return Verdict(text)
    return judged(text, f"{line.floor:g}x", round(ratio, 1) >= line.floor)


def overhead_verdict(line: Line, peer: Line | None) -> Verdict:
    """Judge the overhead of a call: microseconds above the peer.

    By the fastest rounds, each of them a mean over many calls: whatever else the machine does only
    adds to a round, and can add more than the few microseconds in question.
    """
    if peer is None or line.role != "ours":
        return Verdict()
    over = (line.minimum - peer.minimum) * 1e6
    text = f"{over:+.2f} us over {peer.contender}"
    if line.floor is None:
        return Verdict(text)
    return judged(text, f"{line.floor:g} us", round(over, 2) <= line.floor)


def time_verdict(line: Line, best: Line | None) -> Verdict:
    """Judge a time: ours by what it may take, a peer by how much faster ours is."""
    if line.limit is None:
        return speed_verdict(line, best, None)
    met = line.median <= line.limit
    return Verdict(f"limit {seconds(line.limit).strip()}: {'met' if met else 'MISSED'}", met)


def table(group: str, lines: list[Line]) -> tuple[list[str], list[bool]]:
    """Lay out one group; return its text and whether each floor in it was kept."""
    ranked = sorted(lines, key=lambda line: line.median)
    by_role = {role: [x for x in ranked if x.role == role] for role in ("ours", "peer", "ceiling")}
    best, peer, ceiling = (next(iter(found), None) for found in by_role.values())
    timed = any(line.limit is not None for line in lines)
    throughput = not timed and any(line.pixels for line in lines)

    width = max(len(line.contender) for line in lines)
    columns = f"{'median':>10}  {'fastest':>10}" + (f"  {'Mpx/s':>9}  {'GB/s':>8}" if throughput else "")
    text = [group, f"  {'':{width}}  {columns}"]
    floors, notes = [], []
    for line in ranked:
        row = f"  {line.contender:{width}}  {seconds(line.median):>10}  {seconds(line.minimum):>10}"
        if throughput:
            verdict = speed_verdict(line, best, ceiling)
            row += f"  {line.pixels / line.median / 1e6:>9.1f}  {line.bandwidth / 1e9:>8.2f}"
        else:
            verdict = time_verdict(line, best) if timed else overhead_verdict(line, peer)
        text.append(f"{row}  {verdict.text}".rstrip())
        if verdict.met is not None:
            floors.append(verdict.met)
        if line.note:
            notes.append(f"  {line.contender}: {line.note}")
    return [*text, *notes], floors


def report(lines: list[Line]) -> list[str]:
    """Lay out all groups, in the order in which they ran, and count the floors."""
    text: list[str] = []
    floors: list[bool] = []
    for group, members in groupby(lines, key=lambda line: line.group):
        rows, kept_here = table(group, list(members))
        text += ["", *rows]
        floors += kept_here
    if floors:
        text += ["", f"floors: {sum(floors)} met, {len(floors) - sum(floors)} missed"]
    return text
