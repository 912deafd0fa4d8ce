"""What the shell offers when Tab is pressed; nothing here imports torch, which takes seconds."""

from __future__ import annotations


def detectors(incomplete: str) -> list[tuple[str, str]]:
    """Return detectors' names, and what they are.

    Examples
    --------
    >>> [name for name, _ in detectors("liu")]
    ['liu2017']
    """
    from fastwsi.detectors import rows  # noqa: PLC0415  (not for --help)

    return [(row.name, row.paper) for row in rows() if row.name.startswith(incomplete)]


def recipes(incomplete: str) -> list[tuple[str, str]]:
    """Return the names of recipes, and whose they are.

    Examples
    --------
    >>> recipes("liu2017-d")
    [('liu2017-demo', 'Liu et al. 2017: Inception-V3 on patches of gigapixel slides')]
    """
    from fastwsi.detectors import rows  # noqa: PLC0415  (not for --help)

    return [
        (name, row.paper)
        for row in rows()
        for name in row.recipes or (row.name,)
        if name.startswith(incomplete)
    ]
