"""How far the aggregated posterior of a variational autoencoder is from its prior."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from divmatch.errors import SampleError, at_row
from divmatch.estimator import Array, Estimate, Quantity
from divmatch.kernels.execution import execution, in_order, steps_of
from divmatch.record import Note
from divmatch.samples import LARGEST, SMALLEST, Samples, as_samples, with_beside
from divmatch.settings import Setting

SDS = "sds"  # what stands beside the means; its name in the origin
ELEMENTS = 1 << 17  # numbers of a block: it stays in the cache
FEWEST = 2  # draws a row for a Monte Carlo error

Kind = Annotated[
    Literal["gap", "mean-kl", "mi"],
    Setting("the gap, the mean KL of the rows' posteriors, or their difference I(x; z)", many=True),
]
Form = Annotated[
    Literal["marginal", "joint"],
    Setting("marginal: the sum over the latent columns, as published; joint: all columns at once"),
]
Draws = Annotated[int, Setting("draws from every row's posterior", least=FEWEST, most=1_000_000)]
Spread = Annotated[
    Literal["sd", "variance", "log-variance"], Setting("what the second file holds for each mean")
]


def _title(settings: Mapping[str, Any]) -> str:
    names = {"gap": "density gap", "mean-kl": "mean KL to the prior", "mi": "I(x; z)"}
    return names[settings["kind"]]


def packed(means: Any, sds: ArrayLike, *, weights: ArrayLike | None = None) -> tuple[Samples, None]:
    """The means as a sample, with the numbers of the other file beside them."""
    spread = as_samples(sds, "sds")
    made = with_beside(as_samples(means, "means", weights), SDS, spread.points)
    return replace(made, origin={**made.origin, SDS: spread.name}), None


GAP = Quantity(
    "density-gap",
    title=_title,
    unit="nats",
    direction="P",
    default="draws",
    on_command={"kind": "gap,mean-kl,mi"},
    packed=packed,
    paired=True,
    examples=(
        "divmatch density-gap means.npy sds.npy",
        "divmatch density-gap means.npy logvars.npy --spread log-variance --form joint -f json",
        "divmatch density-gap means.npy sds.npy --kind gap --max 0.5",
    ),
)


@GAP.estimator("draws", source="arXiv:2211.00321, section 3")
def density_gap(
    means: Samples,
    *,
    kind: Kind = "gap",
    form: Form = "marginal",
    draws: Draws = 32,
    spread: Spread = "sd",
    rng: "np.random.Generator",
) -> Estimate:
    """KL between the aggregated posterior of an autoencoder and its standard normal prior.

    Row i of MEANS and of SDS is the posterior qᵢ = N(μᵢ, diag(σᵢ²)) of one data row. The aggregated
    posterior is their mixture q = Σ wᵢ qᵢ, and the gap is KL(q || N(0, I)), for the form marginal the
    sum over the columns of the gap of each. It is zero if and only if decoding draws from the prior
    is what training has prepared; at least 0, though Monte Carlo noise may show a negative number.

    mean KL(qᵢ || N(0, I)) = I(x; z) + gap: the kinds mean-kl (exact) and mi stand beside it. A healthy
    model has a small gap and a large mean KL; holes in the latent space show as a large gap; where
    the posterior has collapsed onto the prior, all three are 0. I(x; z) is at most ln n per column
    summed (marginal) or ln n (joint), so that few rows bound it.

    E_qᵢ ln(q/prior) is a mean of draws μᵢ + σᵢ ε, with qᵢ left in the mixture. Its Monte Carlo error
    is part of the result. The interval is for other rows of the same source: it comes from the rows'
    influences E_qᵢ ln(q/prior).

    Parameters
    ----------
    means : Samples
        μ, one row a data row and one column a latent variable, weighted or not; σ stands beside it.
    kind : str
        gap, mean-kl or mi; the command gives all three from the same draws.
    form : str
        marginal or joint.
    draws : int
        Draws from each posterior, at least 2.
    spread : str
        Whether SDS holds standard deviations, variances or logarithms of variances.
    rng : Generator
        Makes the draws.

    Returns
    -------
    Estimate
        The number in nats, with the influence of every row.

    Raises
    ------
    SampleError
        When a standard deviation is not above 0, or the two files have different shapes.

    Notes
    -----
    Cost: O(draws n² d) time, a block of memory. The kind mean-kl alone: O(n d).

    Source: arXiv:2211.00321, section 3 (marginal, 32 draws); the identity: Hoffman & Johnson 2016.

    Examples
    --------
    >>> import divmatch
    >>> round(divmatch.density_gap([[-2.0], [2.0]], [[0.5], [0.5]], kind="mean-kl").value, 6)
    2.318147
    """
    sds = _sds(means, spread)
    kls = 0.5 * np.sum(means.points**2 + sds**2 - 1.0 - 2.0 * np.log(sds), axis=1)
    w = means.masses()
    if kind == "mean-kl":
        return Estimate(float(w @ kls), terms_x=kls)
    found = means.once((form, draws, spread), lambda: _drawn(means, sds, form, draws, rng))
    terms = found.logs if kind == "gap" else kls - found.logs
    value = float(w @ terms)
    return Estimate(value, terms_x=terms, error=found.error, notes=_negative(value), exact=False)


@dataclass(frozen=True)
class Drawn:
    """E_qᵢ ln(q/prior) of every row, and the Monte Carlo error of their weighted mean."""

    logs: Array
    error: float


def _sds(means: Samples, spread: str) -> Array:
    """Standard deviations of what was given: numbers above 0 with squares that are numbers."""
    given = means.beside[SDS]
    with np.errstate(over="ignore", invalid="ignore"):
        if spread == "log-variance":
            sds = np.exp(given / 2)
        else:
            sds = np.sqrt(given) if spread == "variance" else given
    wrong = ~((sds >= SMALLEST) & (sds <= LARGEST))
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        found = given[row, column]
        hint = ""
        if spread == "log-variance":
            least, most = 2 * math.log(SMALLEST), 2 * math.log(LARGEST)
            expected = f"a number from {least:.0f} to {most:.0f}"
        else:
            power = 2 if spread == "variance" else 1
            expected = f"a number from {SMALLEST**power:g} to {LARGEST**power:g}"
            hint = "; is it --spread log-variance?" * bool(found <= 0)
        where = means.origin.get(SDS, means.name)
        raise SampleError(
            f"{where}: the {spread} {at_row(int(row))}, column {column}, is {found:g}, "
            f"expected {expected}{hint}"
        )
    return sds


def _drawn(means: Samples, sds: Array, form: str, draws: int, rng: "np.random.Generator") -> Drawn:
    """Draw row after row, so that the numbers do not depend on the blocks."""
    used = np.flatnonzero(means.masses() > 0)
    mu, sd, w = means.points[used], sds[used], means.masses()[used]
    n, d = mu.shape
    size = int(min(ELEMENTS, execution().memory // 32) // (draws * n)) or 1

    def blocks() -> Iterator[Array]:
        for rows in steps_of(n, size):
            noise = rng.standard_normal((len(mu[rows]), draws, d))
            yield mu[rows, None] + sd[rows, None] * noise

    def logs(z: Array) -> tuple[Array, Array]:
        log_q = _log_mixture(z.reshape(-1, d), mu, 1.0 / sd, w, joint=form == "joint")
        values = log_q.reshape(z.shape[:2]) + 0.5 * np.sum(z * z, axis=2)
        return values.mean(axis=1), values.var(axis=1, ddof=1) / draws

    found = list(in_order(logs, blocks(), work=float(n) * n * draws * d))
    mean, variance = (np.concatenate(parts) for parts in zip(*found, strict=True))
    every = np.zeros(means.n)
    every[used] = mean
    return Drawn(every, float(np.sqrt(np.sum(w**2 * variance))))


def _log_mixture(z: Array, mu: Array, inverse: Array, w: Array, *, joint: bool) -> Array:
    """Ln Σⱼ wⱼ Π_c N(z_c; μⱼc, σⱼc) √(2π), or the sum over c of the logarithm for each column."""
    total = np.zeros(len(z))
    exponent = np.zeros((len(z), len(mu))) if joint else None
    square = np.empty((len(z), len(mu)))
    for c in range(z.shape[1]):
        np.subtract.outer(z[:, c], mu[:, c], out=square)
        square *= inverse[:, c]
        square *= square
        if exponent is not None:
            exponent += square
            continue
        square *= -0.5
        # the row's own component is in the sum: it never underflows
        total += np.log(np.exp(square, out=square) @ (w * inverse[:, c]))
    if exponent is None:
        return total
    exponent *= -0.5
    exponent += np.log(w) + np.log(inverse).sum(axis=1)
    largest = exponent.max(axis=1)
    exponent -= largest[:, None]
    made: Array = largest + np.log(np.exp(exponent, out=exponent).sum(axis=1))
    return made


def _negative(value: float) -> tuple[Note, ...]:
    if value >= 0:
        return ()
    return (Note("W01", f"{value:.3g} is below 0, which the truth is not: noise of the draws"),)
