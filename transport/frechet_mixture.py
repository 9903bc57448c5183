"""Transport between Gaussian mixtures fitted to the samples."""

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import InconclusiveError, SettingError, counted
from divmatch.estimator import Array, Estimate, Labels, Pooled
from divmatch.kernels.execution import in_order
from divmatch.mixtures import Components, StoredMixture
from divmatch.record import Note
from divmatch.samples import Samples
from divmatch.settings import Setting
from divmatch.transport.frechet import FRECHET
from divmatch.transport.gaussian_mixture import Mixture, fit
from divmatch.transport.mixture_barycentre import check_regular
from divmatch.transport.mixture_cost import Gradient, transported
from divmatch.transport.mixture_plan import MixturePlan

Count = Annotated[
    int,
    Setting(
        "number of Gaussians fitted to rows; stored mixtures have theirs",
        least=1,
        shown="K",
        bare="2",
    ),
]
Cost = Annotated[
    Literal["w2", "jeffreys", "kl"], Setting("what moving one Gaussian onto another costs")
]

SWEEPS, STILL = 300, 1e-4  # of the linear equations for the influences


@FRECHET.estimator(
    "mixture",
    source="Delon & Desolneux 2020, arXiv 1907.05254; Chen, Georgiou & Tannenbaum 2019, IEEE Access 7",
)
def frechet_mixture(
    x: Samples, y: Samples, *, mixture: Count = 2, mixture_cost: Cost = "w2"
) -> Estimate:
    """Least cost of moving a Gaussian mixture fitted to P onto one fitted to Q, components whole.

    min Σ P_kj c(k, j) over the plans P between the components' shares. With the squared 2-Wasserstein
    distance as c it is MW₂², an upper bound of the squared 2-Wasserstein distance of the mixtures,
    and for K = 1 the plug-in of the method gaussian, covariances divided by n. With c the Jeffreys
    divergence, or with the Kullback-Leibler divergence of P's Gaussian from Q's, it is a composite
    transportation divergence, in nats. Zero if and only if the two mixtures have the same components;
    biased upward, by more for more components. The bias stays.

    P, Q or both may be stored mixtures: an .npz with `weights`, `means` and `covariances`, such as `match
    mixture` writes. They are taken as exact (W60); --mixture counts the Gaussians that rows are given.

    Use it for clustered data, where one Gaussian sees too little: it tells a mixture from the Gaussian
    of the same moments. Too many components, or components without a place of their own, make it
    depend on small things: look at the result for K − 1 and K + 1.

    The mixtures are fitted by expectation-maximisation without any chance: grown from one Gaussian,
    each time by the split that gains the largest likelihood, so that order of rows and seed change
    nothing. Weights count as rows would. Nothing is added to the covariances: a component that
    collapses is refused. The standard error carries the fit along (implicit differentiation of its
    fixed point), and holds where mixtures are only an approximation; where the fit does not settle,
    because no components are distinct, there is none (W18).

    -o FILE.npz saves the plan between the components: `row`, `col` and `mass`, the potentials `f` and
    `g`, and both mixtures, whose shares are `weights_p` and `weights_q`.

    Parameters
    ----------
    x, y : Samples
        Rows of P, shape (n, d), and of Q, shape (m, d), weighted or not.
    mixture : int
        K, the number of components of a mixture that is fitted to rows.
    mixture_cost : str
        w2 for the squared 2-Wasserstein distance of two components, kl for the Kullback-Leibler
        divergence of P's from Q's, jeffreys for the sum of both directions.

    Returns
    -------
    Estimate
        Squared distance in squared data units, or nats; at least 0, with the influence of every row.

    Raises
    ------
    InconclusiveError
        When a covariance is singular: too few rows, or columns that determine each other; with kl
        and jeffreys also one of a stored mixture.

    Notes
    -----
    Cost: O(K² n d²) for each of some hundred iterations; a permutation costs as much as the fit.

    Source: Delon & Desolneux 2020 (SIAM J. Imaging Sciences 13, arXiv 1907.05254); Chen, Georgiou &
    Tannenbaum 2019 (IEEE Access 7); composite divergence: Zhang & Chen 2020 (arXiv 2002.08410);
    fit: Vlassis & Likas 2002 (Neural Processing
    Letters 15), Fraley & Raftery 2007 (Journal of Classification 24).

    Examples
    --------
    >>> import divmatch
    >>> x = [-2.1, -2.0, -1.9, 1.9, 2.0, 2.1]
    >>> round(divmatch.frechet(x, [value + 3.0 for value in x], mixture=2).value, 6)
    9.0
    """
    p, q = (_side(samples, mixture, mixture_cost) for samples in (x, y))
    found = transported(p.mixture, q.mixture, mixture_cost)
    first, said = _influences(x, p, found.by_p)
    second, told = _influences(y, q, found.by_q)
    return Estimate(
        max(found.value, 0.0),
        first,
        second,
        params={
            "components_p": len(p.mixture.shares),
            "components_q": len(q.mixture.shares),
            **_likelihood("p", p.mixture),
            **_likelihood("q", q.mixture),
        },
        notes=tuple(said + told),
        plan=lambda: MixturePlan.between(p.mixture, q.mixture, found, mixture_cost),
    )


@dataclass(frozen=True, eq=False)
class Side:
    """A mixture, and the rows that it was fitted to with their places; None where it was stored."""

    mixture: Components
    rows: Samples | None = None
    places: NDArray[np.intp] | None = None


def _side(samples: Samples, count: int, cost: str) -> Side:
    if isinstance(samples, StoredMixture):
        check_regular(samples.components, cost, samples.name)
        return Side(samples.components)
    kept, places = _weighing(samples)
    return Side(fit(kept.points, kept.masses(), count, samples.name), kept, places)


def _likelihood(name: str, mixture: Components) -> dict[str, float]:
    if not isinstance(mixture, Mixture):
        return {}
    return {f"log_likelihood_{name}": mixture.log_likelihood}


def _influences(samples: Samples, side: Side, slope: Gradient) -> tuple[Array, list[Note]]:
    """The influence of every row, none at all of a stored mixture; and what is to be said."""
    kept, fitted = side.rows, side.mixture
    if kept is None or not isinstance(fitted, Mixture):
        exact = (
            f"{samples.name}: the stored mixture is taken as exact, without the error of its fit"
        )
        return np.empty(0), [Note("W60", exact)]
    notes = _notes(samples, fitted)
    own, settled = influences(kept.points, kept.masses(), fitted, slope)
    if not settled:
        notes.append(
            Note("W18", f"{samples.name}: no standard error, as the components are not distinct")
        )
    every = np.zeros(samples.n)
    every[side.places] = own
    return every, notes


def _weighing(samples: Samples) -> tuple[Samples, NDArray[np.intp]]:
    """The rows that carry weight, and their places."""
    if samples.n != len(samples.points):
        raise SettingError(f"--mixture: {samples.name} holds moments and no rows")
    places = np.flatnonzero(samples.masses() > 0)
    return (samples if len(places) == samples.n else samples.take(places)), places


def influences(
    points: Array, masses: Array, mixture: Mixture, slope: Gradient
) -> tuple[Array, bool]:
    """How each row moves a number with these derivatives by the fitted parameters.

    At the fixed point θ = M(θ) of expectation-maximisation, dθ = (I − J)⁻¹ dM: the derivatives u =
    slope + J'u are found by iteration, which converges as the fit itself did. Whether they did.
    """
    u = slope
    before = _contributions(points, mixture, u)
    for _ in range(SWEEPS):
        through = _pulled_back(points, masses, mixture, before)
        u = Gradient(
            slope.shares + through.shares,
            slope.means + through.means,
            slope.covariances + through.covariances,
        )
        after = _contributions(points, mixture, u)
        after -= masses @ np.sum(mixture.own * after, axis=1)
        moved = float(np.abs(after - before).max())
        before = after
        if moved <= STILL * float(np.abs(after).max()):
            return np.asarray(np.sum(mixture.own * after, axis=1)), True
    return np.full(len(points), np.nan), False  # no standard error rather than a wrong one


def _contributions(points: Array, mixture: Mixture, u: Gradient) -> Array:
    """What one more of each row's share in each component adds: (n, K)."""
    centred = points - mixture.means[:, None, :]
    bend = np.einsum("kij,kij->ki", centred @ u.covariances, centred)
    bend -= np.einsum("kij,kij->k", u.covariances, mixture.covariances)[:, None]
    shift = np.einsum("kij,kj->ki", centred, u.means)
    shares = mixture.shares[:, None]
    return np.asarray((u.shares[:, None] + shift / shares + bend / (shares + mixture.prior)).T)


def _pulled_back(points: Array, masses: Array, mixture: Mixture, contributions: Array) -> Gradient:
    """Derivatives by the parameters through the posterior shares: J'u."""
    own = mixture.own
    mean = np.sum(own * contributions, axis=1)
    pulls = (masses[:, None] * own * (contributions - mean[:, None])).T
    totals = pulls.sum(axis=1)
    inverse = np.linalg.inv(mixture.covariances)
    white = (points - mixture.means[:, None, :]) @ inverse
    means = np.einsum("ki,kij->kj", pulls, white)
    seen = (white * pulls[:, :, None]).transpose(0, 2, 1) @ white
    return Gradient(totals / mixture.shares, means, 0.5 * (seen - inverse * totals[:, None, None]))


def _notes(samples: Samples, mixture: Mixture) -> list[Note]:
    notes = []
    if not mixture.converged:
        notes.append(Note("W18", f"{samples.name}: the mixture's fit was not converged"))
    masses = samples.masses()
    weights = mixture.own * masses[masses > 0][:, None]
    least = float((mixture.shares**2 / np.sum(weights**2, axis=0)).min())
    if least < 2 * (samples.d + 1):
        notes.append(
            Note(
                "W61",
                f"{samples.name}: a component rests on {least:.3g} rows for its "
                f"{counted(samples.d, 'column')}; give a smaller --mixture",
            )
        )
    return notes


@frechet_mixture.pooled
def frechet_mixture_plan(pool: Samples, *, mixture: int, mixture_cost: str, **_: Any) -> Pooled:
    """Every split fitted by itself: its components are its own."""
    kept, places = _weighing(pool)

    def value(labels: NDArray[np.bool_]) -> float:
        if labels.all() or not labels.any():
            return math.nan
        try:
            p, q = (
                fit(part.points, part.masses(), mixture, part.name)
                for part in (kept.take(labels), kept.take(~labels))
            )
            return max(transported(p, q, mixture_cost).value, 0.0)
        except InconclusiveError:
            return math.nan

    def statistic(labels: Labels) -> Array:
        splits = (labels[places, b] for b in range(labels.shape[1]))
        return np.array(list(in_order(value, splits)))

    centred = kept.points - kept.masses() @ kept.points
    reach = float(np.max(np.einsum("ij,ij->i", centred, centred)))
    return Pooled(statistic, lambda: 64 * 2.0**-52 * pool.n**0.5 * reach)
