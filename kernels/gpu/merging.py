"""Array-module twin of `divmatch.kernels.cpu.merging`: each segment's numbers in order, then running sums."""

from collections.abc import Iterator
from typing import Any

from divmatch.kernels.gpu.pairwise import array_module


def distance_walk(
    x: Any, y: Any, cuts_x: Any, cuts_y: Any, along_x: float, along_y: float, out: Any
) -> None:
    """Of each segment: Σ h·q, Σ h·(2 i − n), Σ p and Σ p² over its numbers of x, and of y; one place free.

    p = d + along·f with the sums d and f up to the number; h is the gap before it. ``cuts_x`` and
    ``cuts_y`` say how many numbers stand before each segment, and before the end.
    """
    xp = array_module(x)
    n, m = len(x) - 1, len(y) - 1
    for k, (of_x, of_y, i, j, h) in enumerate(_segments(xp, x, y, cuts_x, cuts_y)):
        d = xp.cumsum(h * (i * m - j * n))
        f = xp.cumsum(h * (2.0 * i - n))
        px = d[of_x] + f[of_x] * (along_y + (along_x - along_y))
        py = d[of_y] + f[of_y] * along_y
        sums = (d, f, *map(xp.cumsum, (px, px * px, py, py * py)))
        out[k, :6] = [_last(part) for part in sums]


def sign_walk(x: Any, y: Any, cuts_x: Any, cuts_y: Any, out: Any) -> None:
    """Of each segment: Σ h·|q|, s = Σ h·sign q, Σ s and Σ s² over its numbers of x, of y, the largest |q|.

    That one is the largest at a gap: between equal numbers there is no F − G.
    """
    xp = array_module(x)
    n, m = len(x) - 1, len(y) - 1
    for k, (of_x, of_y, i, j, h) in enumerate(_segments(xp, x, y, cuts_x, cuts_y)):
        q = i * m - j * n
        s = xp.cumsum(h * xp.sign(q))
        sx, sy = s[of_x], s[of_y]
        sums = map(xp.cumsum, (h * xp.abs(q), sx, sx * sx, sy, sy * sy))
        area, *rest = (_last(part) for part in sums)
        out[k] = [area, _last(s), *rest, xp.max(xp.abs(q) * (h > 0))]


def _last(sums: Any) -> Any:
    """The last of running sums: those of the compiled twin, in its order."""
    return sums[-1] if len(sums) else 0.0


def _segments(xp: Any, x: Any, y: Any, cuts_x: Any, cuts_y: Any) -> Iterator[tuple[Any, ...]]:
    """Where the numbers of each are, how many of each stand before a place, the gap before it."""
    last = min(x[0], y[0])
    if cuts_x[0] + cuts_y[0]:
        last = max([*x[: cuts_x[0]][-1:], *y[: cuts_y[0]][-1:]])
    for k in range(len(cuts_x) - 1):
        own_x, own_y = x[cuts_x[k] : cuts_x[k + 1]], y[cuts_y[k] : cuts_y[k + 1]]
        of_x = xp.arange(len(own_x)) + xp.searchsorted(own_y, own_x)  # equal ones of x come first
        others = xp.ones(len(own_x) + len(own_y))
        others[of_x] = 0.0
        of_y = xp.flatnonzero(others)
        z = xp.empty(len(others) + 1)
        z[0], z[of_x + 1], z[of_y + 1] = last, own_x, own_y
        j = cuts_y[k] + xp.cumsum(others) - others
        i = cuts_x[k] + cuts_y[k] + xp.arange(len(others)) - j
        last = z[-1]
        yield of_x, of_y, i, j, xp.diff(z)
