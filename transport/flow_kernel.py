"""Flows of kernel discrepancies: over all pairs of rows, with noise against getting stuck."""

import math
from functools import partial
from typing import Annotated, Literal

import numpy as np

from divmatch.errors import SettingError
from divmatch.kernels.pairwise import Profile, ProfileName
from divmatch.kernels.pulls import pulls
from divmatch.matcher import Array, Fit, Watch
from divmatch.samples import Samples
from divmatch.settings import Setting
from divmatch.transport.descent import Draw, Kind, Make, Pace, flowed
from divmatch.transport.inertia import bath_of
from divmatch.transport.moving import (
    FLOW,
    Dynamics,
    Every,
    Friction,
    Momentum,
    Step,
    Steps,
    Temperature,
    Tol,
)

Kernel = Annotated[
    Literal["imq", "gaussian", "rq"], Setting("kernel of the discrepancy, smooth where rows meet")
]
Bandwidth = Annotated[
    float | Literal["median"],
    Setting(
        "s of the kernel; median: the median distance of rows of P and Q",
        above=0,
        unit="data unit",
    ),
]
Noise = Annotated[
    float,
    Setting(
        "how far from its row the first velocity is taken, falling as 1/√step",
        least=0,
        unit="the bandwidth",
    ),
]
Schedule = Annotated[
    Literal["fixed", "adaptive"],
    Setting("the kernel's width: fixed, or halved whenever what is left is sampling noise"),
]
WIDEST = 1e5  # of Q's spread
SOME = 500  # rows of each sample that the median is taken of


class Discrepancy:
    """½ MMD² of a kernel; with k = −r it is half the energy distance."""

    def __init__(
        self, y: Array, b: Array | None, a: Array | None, profile: Profile, sign: float
    ) -> None:
        self.y, self.b = y, np.full(len(y), 1 / len(y)) if b is None else b
        self.a, self.profile, self.sign, self.reach = a, profile, sign, profile.scale
        own = pulls(profile, y, y, self.b[:, None])[0][:, 0]
        self.own = 0.5 * sign * float(self.b @ own)

    def at(self, points: Array, where: Array, rng: Draw) -> tuple[float, Array]:
        """Value and gradient from one pass over the pairs with the particles and with Q's rows."""
        n = len(points)
        a = np.full(n, 1 / n) if self.a is None else self.a
        own, apart = pulls(self.profile, where, points, self.sign * a[:, None])
        across, together = pulls(self.profile, where, self.y, -self.sign * self.b[:, None])
        return float(a @ (0.5 * own[:, 0] + across[:, 0])) + self.own, apart + together


def _fixed(profile: Profile, sign: float, *_: object) -> tuple[Make, ...]:
    return (lambda y, b, a: Discrepancy(y, b, a, profile, sign),)


def scale_of(bandwidth: float | str, start: Array, target: Array, unit: float) -> float:
    """The bandwidth in the frame's unit; the median is of rows at even steps of both samples."""
    if not isinstance(bandwidth, str):
        if bandwidth > WIDEST * unit:
            raise SettingError(
                f"--bandwidth {bandwidth:g}: rows look the same to a kernel so much wider than Q, "
                f"by rounding; choose one below {WIDEST * unit:g}"
            )
        return bandwidth / unit
    some = np.concatenate([rows[:: -(-len(rows) // SOME)] for rows in (start, target)])
    squares = np.einsum("ij,ij->i", some, some)
    gaps = squares[:, None] + squares - 2.0 * some @ some.T
    found = float(np.sqrt(np.median(gaps[np.triu_indices(len(some), 1)].clip(0.0))))
    return found or 1.0


def widths(bandwidth: float, start: Array, target: Array) -> list[float]:
    """From the samples' distance down to the bandwidth, by halves."""
    gaps = (rows - target.mean(axis=0) for rows in (start, target))
    apart = math.sqrt(sum(np.einsum("ij,ij->i", rows, rows).mean() for rows in gaps))
    halvings = max(0, math.ceil(math.log2(apart / bandwidth))) if apart > 0 else 0
    return [bandwidth * 2.0**k for k in range(halvings, -1, -1)]


def _scaled(
    name: ProfileName,
    bandwidth: float | str,
    schedule: str,
    start: Array,
    target: Array,
    unit: float,
) -> tuple[Make, ...]:
    """Wide kernels first where the schedule is adaptive; then the median is that of Q's rows."""
    if schedule == "fixed":
        return _fixed(Profile(name, scale_of(bandwidth, start, target, unit)), 1.0)
    last = scale_of(bandwidth, target, target, unit)
    return tuple(
        make for s in widths(last, start, target) for make in _fixed(Profile(name, s), 1.0)
    )


@FLOW.method("mmd", source="Arbel, Korba, Salim & Gretton 2019, arXiv 1906.04370", long=True)
def mmd(
    x: Samples,
    y: Samples,
    *,
    kernel: Kernel = "imq",
    bandwidth: Bandwidth = "median",
    noise: Noise = 0.0,
    schedule: Schedule = "fixed",
    steps: Steps = 500,
    step: Step = 1.0,
    dynamics: Dynamics = "gradient",
    friction: Friction = None,
    temperature: Temperature = None,
    tol: Tol = 0.5,
    every: Every = None,
    rng: "np.random.Generator",
    watch: Watch,
) -> Fit:
    """Rows of P moved along the gradient flow of ½ MMD², with noise injected if wanted.

    Each row follows −∇ of the witness E k(X, ·) − E k(Y, ·). The kernels are functions of the distance r:
    imq (s² + r²)^(−1/2), gaussian exp(−r²/(2s²)), rq 1/(1 + r²/(2s²)). Where a kernel has died away there is
    no gradient, and rows far from Q stay behind: imq and rq reach further than gaussian. --noise β takes
    the gradient at x + β s u / √t with u normal, at the t-th step, and moves x: it finds Q's mass from
    further away. Then the objective is looked at in every tenth step, which has no noise.

    --schedule adaptive begins with a kernel as wide as the samples are apart, and halves its width down
    to --bandwidth, each time that the MMD of this width is at the noise of samples or falls no more. The
    curve has the MMD of each width; what is reported is that of the last.

    Parameters
    ----------
    x, y : Samples
        As for the method sliced-riesz.
    kernel : str
        imq, gaussian or rq.
    bandwidth : float or str
        s, above 0; or median, over rows of both samples as they are at the start.
    noise : float
        β, at least 0, in units of the bandwidth; 0 for none.
    schedule : str
        fixed, or adaptive: wide kernels first.
    steps : int
        As for the method sliced-riesz.
    step : float
        As for the method sliced-riesz.
    dynamics : str
        As for the method sliced-riesz.
    friction : float, optional
        As for the method sliced-riesz.
    temperature : float, optional
        As for the method sliced-riesz.
    tol : float
        As for the method sliced-riesz.
    every : int, optional
        As for the method sliced-riesz.
    rng : numpy.random.Generator
        Draws the noise; unused without.
    watch : Watch
        Is told the objective and the length of every step.

    Returns
    -------
    Fit
        The rows moved, in P's order and units.

    Notes
    -----
    Cost: O(n (n + m) d) time a step; O((n + m) d) memory.

    Source: Arbel, Korba, Salim & Gretton 2019, Maximum mean discrepancy gradient flow (NeurIPS, arXiv
    1906.04370), eq. (21).

    Examples
    --------
    >>> import divmatch
    >>> found = divmatch.match.flow([0.0, 1.0], [2.0, 3.0], method="mmd", metric="none", tol=1e-9)
    >>> found.converged, found.points[:, 0].round(1).tolist()
    (True, [2.0, 3.0])
    """
    family = partial(_scaled, kernel, bandwidth, schedule)
    bath = bath_of(dynamics, friction, temperature)
    pace = Pace(steps, step, tol, every, noise=noise, bath=bath)
    return flowed(x, y, Kind("half the squared MMD", "1", 0.0, family), pace, rng, watch)


@FLOW.method("energy", source="Székely & Rizzo 2013, J. Stat. Plan. Inference 143", long=True)
def energy(
    x: Samples,
    y: Samples,
    *,
    steps: Steps = 500,
    step: Step = 1.0,
    momentum: Momentum = 0.3,
    dynamics: Dynamics = "gradient",
    friction: Friction = None,
    temperature: Temperature = None,
    tol: Tol = 0.5,
    every: Every = None,
    rng: "np.random.Generator",
    watch: Watch,
) -> Fit:
    """Rows of P moved along the gradient flow of half the energy distance, over all pairs of rows.

    What sliced-riesz follows on average over directions, without their noise: each row is drawn to
    every row of Q with the same force, whatever the distance, and driven away from those of P. For few
    rows, and where every digit of the result is to come from the data.

    Parameters
    ----------
    x, y : Samples
        As for the method sliced-riesz.
    steps : int
        As for the method sliced-riesz.
    step : float
        As for the method sliced-riesz.
    momentum : float
        As for the method sliced-riesz.
    dynamics : str
        As for the method sliced-riesz.
    friction : float, optional
        As for the method sliced-riesz.
    temperature : float, optional
        As for the method sliced-riesz.
    tol : float
        As for the method sliced-riesz.
    every : int, optional
        As for the method sliced-riesz.
    rng : numpy.random.Generator
        Parts rows that are equal; unused otherwise.
    watch : Watch
        Is told the objective and the length of every step.

    Returns
    -------
    Fit
        The rows moved, in P's order and units.

    Notes
    -----
    Cost: O(n (n + m) d) time a step; O((n + m) d) memory.

    Source: Székely & Rizzo 2013, Energy statistics (J. Stat. Plan. Inference 143), eq. (5); as a flow:
    Hertrich et al. 2024 (ICLR, arXiv 2305.11463).

    Examples
    --------
    >>> import divmatch
    >>> found = divmatch.match.flow([[0.0, 0.0]] * 2, [[3.0, 4.0]], method="energy", metric="none")
    >>> found.converged, found.points.round(3).tolist()
    (True, [[3.0, 4.0], [3.0, 4.0]])
    """
    kind = Kind(
        "half the energy distance",
        "data unit",
        1.0,
        partial(_fixed, Profile("distance", 1.0), -1.0),
    )
    return flowed(
        x,
        y,
        kind,
        Pace(steps, step, tol, every, momentum, bath=bath_of(dynamics, friction, temperature)),
        rng,
        watch,
    )
