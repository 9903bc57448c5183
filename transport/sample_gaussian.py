"""The Gaussian that is nearest to a density, and rows of it."""

from typing import Annotated

import numpy as np

from divmatch.errors import InconclusiveError, SettingError
from divmatch.matcher import Array, Fit, Watch
from divmatch.record import Note
from divmatch.samples import Samples
from divmatch.scoring import known
from divmatch.settings import Setting
from divmatch.target_kinds import Target
from divmatch.transport.gaussian_steps import Descent, descended, rule_for
from divmatch.transport.sampling import (
    SAMPLE,
    Dim,
    Number,
    ScoreCommand,
    Step,
    Steps,
    TargetName,
    Timeout,
    Tol,
    check_start,
    figure_of,
    unfinished,
)

Draws = Annotated[
    int, Setting("points that stand for the Gaussian, of more than 3 columns", least=8)
]
NARROWEST = 1e-10  # of the largest variance: a covariance that is singular


@SAMPLE.method(
    "fb-gvi", source="Diao, Balasubramanian, Chewi & Salim 2023, arXiv 2304.05398, algorithm 1",
    candidate="never", long=True,
)  # fmt: skip
def fb_gvi(
    x: Samples,
    *,
    target: TargetName = None,
    score_command: ScoreCommand = None,
    timeout: Timeout = 60.0,
    n: Number = None,
    dim: Dim = None,
    steps: Steps = 1000,
    step: Step = "auto",
    tol: Tol = 1e-3,
    draws: Draws = 1000,
    rng: "np.random.Generator",
    watch: Watch,
) -> Fit:
    """Rows of the Gaussian that is nearest to a density in KL, by forward-backward variational inference.

    min KL(N(m, S) || p) over m and S, with p ∝ exp(−V). A step goes forward along E V and back by the
    exact proximal step of the entropy in the Bures-Wasserstein space: M = I − η E ∇²V, S' = M S M, S =
    (S' + 2η I + (S' (S' + 4η I))^½) / 2, m − η E ∇V. It converges at a linear rate where V is convex, and
    to a stationary point elsewhere (W75). Means over N(m, S) are taken at the same nodes in every step:
    exact for polynomials of high degree with up to 3 columns, for quadratic V with any number.

    Parameters
    ----------
    x : Samples
        Rows whose mean and covariance it starts from; as many new ones come out.
    target : str
        As for the method svgd.
    score_command : str
        As for the method svgd.
    timeout : float
        As for the method svgd.
    n : int, optional
        As for the method svgd.
    dim : int, optional
        As for the method svgd.
    steps : int
        As for the method svgd.
    step : float or str
        η; auto: 1 / the largest eigenvalue of E ∇²V. Halved where the KL rises.
    tol : float
        It ends where the gradient of the KL is so small a share of the two forces in it: curvature of V
        and entropy.
    draws : int
        Points for means over N(m, S), at least 4 a column, with more than 3 columns.
    rng : numpy.random.Generator
        Draws these points and the rows.
    watch : Watch
        Is told KL + constant, where ln p is known, and the gradient as --tol measures it.

    Returns
    -------
    Fit
        New rows of N(m, S), with mean and covariance beside them in .npz; KSD² of the first rows and
        of these.

    Notes
    -----
    Cost: O(d³ + draws · d²) time a step.

    Source: Diao, Balasubramanian, Chewi & Salim 2023, Forward-backward Gaussian variational inference via
    JKO in the Bures-Wasserstein space (ICML, arXiv 2304.05398), algorithm 1.

    Examples
    --------
    >>> import divmatch
    >>> found = divmatch.match.sample(target="gaussian:3,4", n=5, dim=1, method="fb-gvi", tol=1e-9)
    >>> [float(found.fit.arrays[name].round(6).item()) for name in ("mean", "covariance")]
    [3.0, 4.0]
    """
    check_start(x, n, dim)
    mean, covariance = moments(x)
    rule = rule_for(x.d, draws, rng)
    with known(target, score_command, timeout, x.d) as density:
        if density.simplex:
            raise SettingError(f"--target {target}: lives on a simplex; choose --method msvgd")
        try:
            state, converged = descended(
                mean, covariance, density, rule, steps=steps, step=step, tol=tol, watch=watch
            )
        except np.linalg.LinAlgError:
            raise InconclusiveError(
                f"{x.name}: mean and covariance left the range of numbers; start nearer to the target"
            ) from None
        return _drawn(x, density, state, converged, tol, rng)


def moments(x: Samples) -> tuple[Array, Array]:
    """Mean and covariance of the rows; variances alone where the covariance is singular."""
    a = x.masses()
    mean = a @ x.points
    centred = x.points - mean
    covariance = (a[:, None] * centred).T @ centred
    values = np.linalg.eigvalsh(covariance)
    if values[0] > NARROWEST * values[-1]:
        return mean, covariance
    variances = np.diag(covariance)
    usual = float(variances.mean()) or 1.0
    return mean, np.diag(np.where(variances > NARROWEST * usual, variances, usual))


def _drawn(
    x: Samples, density: Target, state: Descent, converged: bool, tol: float,
    rng: "np.random.Generator",
) -> Fit:  # fmt: skip
    law = state.law
    points = law.mean + rng.standard_normal((x.n, x.d)) @ np.linalg.cholesky(law.covariance).T
    figure, scale = figure_of(x, points, density.scores(points), density, fresh=True)
    notes: tuple[Note, ...] = () if converged else (unfinished(state.k, law.size, tol),)
    if not state.convex:
        notes += (
            Note(
                "W75",
                "the target is not log-concave where it was looked at: mean and covariance are "
                "stationary, and may not be the best; try other starts",
            ),
        )
    return Fit(
        points=points,
        fresh=True,
        converged=converged,
        facts={"steps": state.k, "direction": law.size, "ksd_bandwidth": scale},
        arrays={"mean": law.mean, "covariance": law.covariance},
        notes=notes,
        figure=figure,
    )
