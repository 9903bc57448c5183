"""`divmatch match sample`: what its methods share: settings, the first particles, the fit that they make."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from divmatch import scoring
from divmatch.bandwidth import resolved_alone
from divmatch.errors import InconclusiveError, SettingError, counted
from divmatch.kernels.pairwise import Profile, self_sums
from divmatch.matcher import Array, Figure, Fit, Task
from divmatch.randomness import stream
from divmatch.record import Note
from divmatch.samples import Samples, as_samples
from divmatch.settings import Setting
from divmatch.target_kinds import Target
from divmatch.transport.frame import rms

TargetName = Annotated[
    str | None,
    Setting(
        "the density to sample: a family, or FILE.py:log_density or FILE.py:score, a Python file which is "
        "then run",
        parse=scoring.sampled_named,
        callables=True,
        shown="gaussian:MEAN,COV|mixture:FILE|FILE.py:NAME|...",
    ),
]
ScoreCommand = Annotated[
    str | None,
    Setting(
        "in place of a target: a program that reads rows and writes the scores there, line by line",
        parse=str,
        shown="CMD",
    ),
]
Timeout = Annotated[
    float, Setting("longest wait for the program's answer to all rows", above=0, unit="seconds")
]
Number = Annotated[int | None, Setting("particles to draw, where P gives none", least=1, long=True)]
Dim = Annotated[
    int | None, Setting("columns of particles to draw, where the target does not say", least=1)
]
Steps = Annotated[int, Setting("most steps", least=1)]
Step = Annotated[
    float | Literal["auto"],
    Setting(
        "length of a step by Adagrad's rule; auto: no length to tune", above=0, unit="data unit"
    ),
]
Tol = Annotated[
    float,
    Setting("how small the direction is to be, as a share of the forces that it balances", above=0),
]
Kernel = Annotated[
    Literal["gaussian", "imq", "linear"],
    Setting(
        "gaussian exp(-r²/(2s²)), imq (s²+r²)^(-1/2), linear x·y+1 for mean and covariance alone",
        aliases={"rbf": "gaussian"},
    ),
]
Bandwidth = Annotated[
    float | Literal["median"],
    Setting(
        "s of the kernel; median: med r / √(2 ln(n+1)) at every step", above=0, unit="data unit"
    ),
]
NARROW = 0.95  # of the target's spread: what is said to be narrower


def started(settings: Mapping[str, Any], seed: int) -> Samples:
    """The first particles where P gives none: standard normal rows, or spread over the domain."""
    n, d = settings["n"], settings["dim"]
    if n is None:
        raise SettingError("sample: give P, rows to start from, or --n N particles to draw")
    d = d or scoring.columns_of(settings["target"])
    if d is None:
        raise SettingError("sample: give --dim D, for the target does not say how many columns")
    rng = stream(seed, "match", "sample", "start")
    from divmatch.transport.mirrors import spread

    return as_samples(spread(settings.get("domain"), n, d, rng), "start")


SAMPLE = Task(
    "sample",
    product="points",
    default="svgd",
    scales=("none",),
    begin=started,
    examples=(
        "divmatch match sample --target gaussian:0,1 --n 200 --dim 2 -o particles.npy",
        "divmatch match sample real.npy --target mixture:mixture.npz --tol 0.01 --trace ksd.csv -o x.npy",
        "divmatch match sample --target gaussian:0,4 --n 50 --dim 1 --method coin -o coin.npy",
    ),
)


def check_start(x: Samples, n: int | None, dim: int | None) -> None:
    """Refuse numbers that contradict the rows to start from."""
    for flag, given, have, noun in (("--n", n, x.n, "row"), ("--dim", dim, x.d, "column")):
        if given is not None and given != have:
            raise SettingError(f"{flag} {given}: {x.name} has {counted(have, noun)}; leave it out")


# ------------------------------------------------------------------------------------ figures


def discrepancy(points: Array, scores: Array, a: Array, scale: float) -> float:
    """KSD² of weighted particles with the imq kernel, every pair counted."""
    rows = np.hstack([points, scores])
    return float(a @ self_sums(Profile("stein-imq", scale), rows, a))


def level(points: Array, scores: Array, a: Array) -> float:
    """KSD² of some hundred particles by whole matrices, its bandwidth their median distance."""
    centred = points - a @ points
    gaps, middle = squared_gaps(centred)
    kernel = 1.0 / np.sqrt((middle or 1.0) + gaps)
    lean = scores @ centred.T
    own = np.diagonal(lean)
    crossed = own[:, None] + own - lean - lean.T  # (sᵢ − sⱼ)·(xᵢ − xⱼ)
    cubes = kernel**3
    stein = (scores @ scores.T) * kernel + cubes * (crossed + points.shape[1])
    return float(a @ (stein - 3.0 * cubes * kernel**2 * gaps) @ a)


def squared_gaps(centred: Array) -> tuple[Array, float]:
    """|xᵢ − xⱼ|² of all pairs of some hundred rows, and their median: 0 for one row."""
    squares = np.einsum("ij,ij->i", centred, centred)
    gaps = np.maximum(squares[:, None] + squares - 2.0 * centred @ centred.T, 0.0)
    if len(gaps) < 2:
        return gaps, 0.0
    return gaps, float(np.median(gaps.take(_above_diagonal(len(gaps)))))


@lru_cache(maxsize=1)
def _above_diagonal(n: int) -> NDArray[np.intp]:
    """Places above the diagonal of an n × n matrix."""
    return np.flatnonzero(np.triu(np.ones((n, n), dtype=bool), 1))


def bandwidth_of(points: Array, a: Array | None) -> float:
    """The median distance of particles; 1 where all are equal."""
    try:
        return resolved_alone("median", Samples(points, a))[0]
    except InconclusiveError:
        return 1.0


def figure_of(
    x: Samples, points: Array, scores: Array, target: Target, *, fresh: bool = False
) -> tuple[Figure, float]:
    """KSD² before and after, by one kernel: its bandwidth is the median distance after."""
    weights = None if fresh else x.weights
    a = np.full(len(points), 1 / len(points)) if weights is None else weights
    scale = bandwidth_of(points, weights)
    before = discrepancy(x.points, target.scores(x.points), x.masses(), scale)
    after = discrepancy(points, scores, a, scale)
    if not np.isfinite(before + after):
        raise InconclusiveError(
            f"{x.name}: scores are so large that KSD is no number; start nearer to the target"
        )
    return Figure("ksd", before, after, "data unit^-3"), scale


def share_of_spread(points: Array, scores: Array, a: Array) -> float:
    """−E s·(X − E X) / d: 1 for rows of the target (Stein's identity), less for narrower ones."""
    centred = points - a @ points
    return -float(a @ np.einsum("ij,ij->i", scores, centred)) / points.shape[1]


def spread_notes(share: float, n: int, advice: str) -> tuple[Note, ...]:
    """What to say of particles that are narrower than their target, and what may help."""
    if not share < NARROW or n < 2:
        return ()
    if share < 0:
        return (
            Note(
                "W32",
                "the scores point away from the particles' mean: they may be of the wrong sign (-grad ln p)",
            ),
        )
    return (
        Note(
            "W69",
            f"particles are narrower than the target: {abs(share):.2f} of its spread, by Stein's identity"
            + (f"; {advice}" if advice else ""),
        ),
    )


def _advice(x: Samples, wider: str) -> str:
    """Rows in one place get one direction at every step; else what the method knows."""
    apart = len(np.unique(x.points, axis=0))
    if apart < x.n:
        return (
            f"{counted(x.n, 'row')} of {x.name} start in {counted(apart, 'place')} and never part"
        )
    return wider if x.d > 1 else "more particles keep more of it"


def unfinished(k: int, size: float, tol: float) -> Note:
    """The steps were not enough."""
    return Note(
        "W57",
        f"{counted(k, 'step')} were not enough: the direction is {size:.3g} of the forces in it (--tol "
        f"{tol:g}); raise --steps or --tol, or start nearer",
    )


def particles(
    x: Samples,
    points: Array,
    target: Target,
    *,
    facts: Mapping[str, Any],
    wider: str = "",
    **rest: Any,
) -> Fit:
    """The fit that moved particles make; ``wider`` says what keeps more of the target's spread."""
    scores = target.scores(points)
    figure, scale = figure_of(x, points, scores, target)
    share = share_of_spread(points, scores, x.masses())
    notes = (*rest.pop("notes", ()), *spread_notes(share, x.n, _advice(x, wider)))
    return Fit(
        points=points,
        facts={
            **facts,
            "moved": rms(points - x.points, x.masses()),
            "spread": share,
            "ksd_bandwidth": scale,
        },
        figure=figure,
        notes=notes,
        **rest,
    )
