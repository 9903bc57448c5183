"""KL of margins: whether unlearned models treat points as models do that never saw the forgotten ones."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np

from divmatch.errors import SettingError, counted
from divmatch.estimator import Estimate, Quantity, se_of_terms
from divmatch.estimators.margins import CLIP, MEASURES, Divergences, baseline, divergences
from divmatch.record import Note
from divmatch.samples import Samples, as_samples
from divmatch.settings import Setting

SHARE = 0.95  # the percentile

Kind = Annotated[
    Literal["mean", "p95"], Setting("the mean over the points, or their 95th percentile", many=True)
]
Bins = Annotated[
    int, Setting("equal bins over the joint range of a point's margins", least=2, most=100_000)
]
NeighbourCount = Annotated[int, Setting("neighbours", least=1)]


def packed(unlearned: Any, oracle: Any) -> tuple[Samples, Samples]:
    """Models in rows, points in columns; every model counts once."""
    return as_samples(unlearned, "unlearned"), as_samples(oracle, "oracle")


def _title(settings: Mapping[str, Any]) -> str:
    return "KLoM" if settings["kind"] == "mean" else "KLoM 95th percentile"


KLOM = Quantity(
    "klom",
    title=_title,
    unit="nats",
    direction="P||Q",
    default="hist",
    on_command={"kind": "mean,p95"},
    packed=packed,
    examples=(
        "divmatch klom unlearned.npy oracle.npy",
        "divmatch klom unlearned.npy oracle.npy --method knn -o rows.parquet",
        "divmatch klom unlearned.npy oracle.npy --kind mean --max 0.5 -f json",
    ),
)


@KLOM.estimator("hist", source="arXiv:2410.23232, section 3", interval="two-way")
def klom_hist(
    unlearned: Samples,
    oracle: Samples,
    *,
    kind: Kind = "mean",
    bins: Bins = 20,
    rng: "np.random.Generator",
) -> Estimate:
    """KL of margins: how far the margins of unlearned models are from those of oracle models.

    UNLEARNED and ORACLE are arrays of models x points: entry (i, v) is the margin that model i gives
    to point v, the logit of the correct class less the logsumexp of all others. For each point,
    KL(unlearned || oracle) of the histograms over shared equal bins between the smallest and the
    largest margin of both; an oracle bin is at least 1e-5 where unlearned models are. Margins beyond
    +-100 are clipped (W67). The kind mean averages over the points, p95 is their 95th percentile.

    It is 0 for equal distributions, and biased upward: by .33 for 100 models each, .002 for 10 000.
    Hence `baseline`, which stands beside every value: what the same method says of two halves of the
    oracle models, averaged over 10 random splits. Halves are smaller, so that it is more than the
    bias of the value: a value at or below the baseline is no evidence of a difference.

    The interval of the mean is for other models and other points: influences of the models and the
    spread of the points. That of the percentile is for other points. Neither takes off the bias.

    Parameters
    ----------
    unlearned, oracle : Samples
        Margins of n and of m models (rows) at the same points (columns), without weights.
    kind : str
        mean or p95; the command gives both.
    bins : int
        Bins of each point.
    rng : Generator
        Splits the oracle models for the baseline.

    Returns
    -------
    Estimate
        The number in nats.

    Raises
    ------
    SettingError
        For models with weights.

    Notes
    -----
    Cost: O((n + m) points) time for the value and 10 times as much for the baseline; memory blocks.

    Source: arXiv:2410.23232 (KLoM), section 3; the published code's bins, clipping and floor.

    Examples
    --------
    >>> import divmatch
    >>> round(divmatch.klom([[0.0], [1.0]], [[1.0], [1.0]], bins=2).value, 4)
    5.0633
    """
    return _klom(unlearned, oracle, kind, "hist", bins, rng)


@KLOM.estimator(
    "miller-madow", source="Miller 1955; arXiv:2410.23232, section 3", interval="two-way"
)
def klom_miller_madow(
    unlearned: Samples,
    oracle: Samples,
    *,
    kind: Kind = "mean",
    bins: Bins = 20,
    rng: "np.random.Generator",
) -> Estimate:
    """KL of margins from histograms, less the bias of the bins' counts.

    The bias of a plug-in entropy and cross entropy to first order: (K₁ − 1)/(2n) + Σ_b (p_b/q_b)(1 −
    q_b)/(2m), with K₁ the bins that unlearned models are in, and the sum over the bins that both are
    in. The floor of bins without an oracle model stays: it is what makes few models disagree.

    Parameters
    ----------
    unlearned, oracle : Samples
        As for the method hist.
    kind : str
        As for the method hist.
    bins : int
        As for the method hist.
    rng : Generator
        As for the method hist.

    Returns
    -------
    Estimate
        The number in nats; it can be negative.

    Notes
    -----
    Cost: that of the method hist.

    Source: Miller 1955, Information theory in psychology (entropy); delta method for ln q.

    Examples
    --------
    >>> import divmatch
    >>> round(divmatch.klom([[0.0], [1.0]], [[0.0], [1.0]], bins=2, method="miller-madow").value, 4)
    -0.5
    """
    return _klom(unlearned, oracle, kind, "miller-madow", bins, rng)


@KLOM.estimator(
    "knn",
    source="Wang, Kulkarni & Verdú 2009, IEEE Trans. Inf. Theory 55, eq. (5)",
    interval="two-way",
)
def klom_knn(
    unlearned: Samples,
    oracle: Samples,
    *,
    kind: Kind = "mean",
    k: NeighbourCount = 5,
    rng: "np.random.Generator",
) -> Estimate:
    """KL of margins from nearest neighbours, without bins.

    For each point the mean over the unlearned models of ln(ν/ρ), plus ln(m/(n − 1)): ρ is the
    distance of a margin to its k-th nearest of the other unlearned ones, ν to its k-th nearest of the
    oracle's. No bins and no floor: nearly unbiased where the oracle has margins wherever the
    unlearned models have, even for 100 models.

    Parameters
    ----------
    unlearned, oracle : Samples
        As for the method hist.
    kind : str
        As for the method hist.
    k : int
        Neighbours; both must have more models than k.
    rng : Generator
        Splits the oracle models for the baseline.

    Returns
    -------
    Estimate
        The number in nats; it can be negative.

    Raises
    ------
    InconclusiveError
        With k models or fewer, or where more than k models have the same margin at a point.

    Notes
    -----
    Cost: O((n + m) k log(n + m) points) time, memory blocks.

    Source: Wang, Kulkarni & Verdú 2009, IEEE Trans. Inf. Theory 55, eq. (5).

    Examples
    --------
    >>> import divmatch
    >>> margins = [[0.0], [1.0], [3.0]]
    >>> round(divmatch.klom(margins, [[0.5], [1.5], [2.5]], k=1, method="knn").value, 4)
    -0.5187
    """
    return _klom(unlearned, oracle, kind, "knn", k, rng)


def found_of(unlearned: Samples, oracle: Samples, method: str, amount: int) -> Divergences:
    """The divergence of every point; measured once for all that is asked of it."""
    key = (
        method,
        amount,
        id(oracle),
    )  # what is kept holds the oracle, so that its id stays its own
    return unlearned.once(
        key, lambda: divergences(unlearned.points, oracle.points, MEASURES[method], amount)
    )


def _klom(
    unlearned: Samples,
    oracle: Samples,
    kind: str,
    method: str,
    amount: int,
    rng: "np.random.Generator",
) -> Estimate:
    if unlearned.weights is not None or oracle.weights is not None:
        raise SettingError("klom: every model counts once; leave out the weights")
    found = found_of(unlearned, oracle, method, amount)
    null = oracle.once(
        (method, amount), lambda: baseline(oracle.points, MEASURES[method], amount, rng)
    )
    if kind == "mean":
        value, among = float(found.values.mean()), np.arange(len(found.values))
        spread = _mean_error(found.values)
    else:
        value, among, spread = _percentile(found.values)
    terms = found.influences(among)
    se = se_of_terms((unlearned, terms[0]), (oracle, terms[1]))
    if se is not None and spread is not None:  # what is a matter of both is in both: once is enough
        se = math.sqrt(max(se**2 - terms[2], 0.0) + spread**2)
    means = None if null is None else float(null.mean() if kind == "mean" else _share_of(null))
    params = {"points": len(found.values), "baseline": means, "baseline_models": oracle.n // 2}
    notes = (*_clipped(unlearned, oracle), *_notes(value, means, oracle, method))
    return Estimate(value, params=params, se=se, notes=notes)


def _clipped(*several: Samples) -> tuple[Note, ...]:
    """Margins that the published definition moves."""
    return tuple(
        Note("W67", f"{one.name}: {count} margins beyond +-{CLIP:g} are taken as +-{CLIP:g}")
        for one in several
        if (count := np.count_nonzero(one.points > CLIP) + np.count_nonzero(one.points < -CLIP))
    )


def _mean_error(values: np.ndarray[Any, Any]) -> float | None:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None


def _share_of(values: np.ndarray[Any, Any]) -> float:
    """The percentile of every split, averaged."""
    return float(np.quantile(values, SHARE, axis=1).mean())


def _percentile(values: np.ndarray[Any, Any]) -> tuple[float, np.ndarray[Any, Any], float | None]:
    """The percentile, the points near it, and its error from the distance of the order statistics."""
    count, order = len(values), np.argsort(values, kind="stable")
    half = float(np.sqrt(SHARE * (1 - SHARE) * count))  # standard deviation of the rank
    low = max(0, int(np.floor(SHARE * (count - 1) - half)))
    high = min(count - 1, int(np.ceil(SHARE * (count - 1) + half)))
    ordered = values[order]
    spread = float(ordered[high] - ordered[low]) / 2 if count > 1 else None
    return float(np.quantile(values, SHARE)), order[low : high + 1], spread


def _notes(value: float, null: float | None, oracle: Samples, method: str) -> tuple[Note, ...]:
    if null is None:
        return (
            Note(
                "W10", f"{oracle.name}: {counted(oracle.n, 'model')}, too few for a null baseline"
            ),
        )
    if value > null:
        return ()
    half = oracle.n // 2
    advice = "" if method == "knn" else "; --method knn has less bias"
    message = (
        f"{value:.3g} is not above the null baseline {null:.3g} of {half} and {half} oracle models: "
        f"no evidence of a difference{advice}"
    )
    return (Note("W65", message),)
