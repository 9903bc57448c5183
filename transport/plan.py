"""Transport plans in Python: who goes where, potentials, marginals, maps, and a file of them.

    from divmatch.transport import plan

    exact = plan.exact(x, y)              # the cheapest plan: at most n + m - 1 pairs of rows
    far = plan.orlicz(x, y)               # that of an Orlicz distance, for the cost Φ(c / far.norm)
    soft = plan.entropic(x, y, eps=0.01)  # all pairs, by two potentials: never stored
    exact.pairs()                         # rows, columns, masses
    soft.top(3)                           # the three heaviest of every row, streamed
    soft.barycentric(), soft.map(z)       # where every row of x goes; where any row would
    soft.lower, soft.upper                # hold the cost without regularisation
    exact.save("plan.npz")                # opens with numpy.load

All kinds are `divmatch.transport.plans.Plan`: f, g, total_cost, mass, marginals(), matrix(), arrays().
"""

import numpy as np
from numpy.typing import ArrayLike

from divmatch.estimator import quantity
from divmatch.kernels.execution import one_blas_thread
from divmatch.samples import as_samples, check_partners
from divmatch.transport.entropic import Effort
from divmatch.transport.entropic_plan import EntropicPlan
from divmatch.transport.exact import exact as exact_distance
from divmatch.transport.orlicz import orlicz as orlicz_distance
from divmatch.transport.orlicz_plan import OrliczPlan
from divmatch.transport.plans import Pairs, Plan
from divmatch.transport.solution import solved
from divmatch.transport.sparse_plan import SparsePlan

__all__ = [
    "EntropicPlan", "OrliczPlan", "Pairs", "Plan", "SparsePlan", "entropic", "exact", "orlicz",
]  # fmt: skip


def exact(
    x: ArrayLike,
    y: ArrayLike,
    *,
    p: float | str = "auto",
    cost: str = "euclidean",
    weights_x: ArrayLike | None = None,
    weights_y: ArrayLike | None = None,
) -> SparsePlan:
    """The cheapest plan between two samples: that of `divmatch.ot`.

    Parameters
    ----------
    x, y : array_like
        Rows of shape (n, d) and (m, d).
    p, cost : float or str, str
        Order and ground cost, as for `divmatch.ot`; the plan minimises Σ π c^p.
    weights_x, weights_y : array_like, optional
        Weights of the rows.

    Returns
    -------
    SparsePlan
        For n = m without weights it pairs each row with one other.

    Examples
    --------
    >>> from divmatch.transport import plan
    >>> plan.exact([0.0, 2.0], [2.5, 0.5]).pairs().columns.tolist()
    [1, 0]
    """
    first, second = as_samples(x, "x", weights_x), as_samples(y, "y", weights_y)
    check_partners(first, second)
    settings = exact_distance.checked({"p": p, "cost": cost})
    with one_blas_thread(), np.errstate(all="ignore"):
        made = exact_distance(first, second, **settings, rng=None).plan
        found: SparsePlan = made()  # type: ignore[misc]
    return found


def orlicz(
    x: ArrayLike,
    y: ArrayLike,
    *,
    orlicz: str = "exp2",
    cost: str = "euclidean",
    weights_x: ArrayLike | None = None,
    weights_y: ArrayLike | None = None,
) -> OrliczPlan:
    """The plan of an Orlicz-Wasserstein distance between two samples: that of `divmatch.ot` with `orlicz`.

    Parameters
    ----------
    x, y : array_like
        Rows of shape (n, d) and (m, d).
    orlicz, cost : str
        Φ and ground cost, as for `divmatch.ot`; the plan minimises Σ π Φ(c / norm).
    weights_x, weights_y : array_like, optional
        Weights of the rows.

    Returns
    -------
    OrliczPlan
        Its `norm` is the distance, at which it costs 1.

    Examples
    --------
    >>> from divmatch.transport import plan
    >>> plan.orlicz([0.0, 2.0], [3.0, 1.0], orlicz="power:2").norm
    1.0
    """
    first, second = as_samples(x, "x", weights_x), as_samples(y, "y", weights_y)
    check_partners(first, second)
    settings = orlicz_distance.checked({"orlicz": orlicz, "cost": cost})
    with one_blas_thread(), np.errstate(all="ignore"):
        made = orlicz_distance(first, second, **settings).plan
        found: OrliczPlan = made()  # type: ignore[misc]
    return found


def entropic(
    x: ArrayLike,
    y: ArrayLike,
    *,
    eps: float | str = 0.05,
    cost: str = "sqeuclidean",
    debiased: bool = False,
    unbalanced: float | None = None,
    method: str = "newton",
    tol: float = 1e-6,
    max_iter: int = 2000,
    weights_x: ArrayLike | None = None,
    weights_y: ArrayLike | None = None,
) -> EntropicPlan:
    """The plan of entropic transport between two samples: that of `divmatch.sinkhorn`.

    Parameters
    ----------
    x, y : array_like
        Rows of shape (n, d) and (m, d).
    eps, cost, unbalanced, method, tol, max_iter : str or float, str, float, str, float, int
        As for `divmatch.sinkhorn`.
    debiased : bool
        Also solve for the potentials of both samples with themselves, which `map` can use.
    weights_x, weights_y : array_like, optional
        Weights of the rows.

    Returns
    -------
    EntropicPlan
        Nothing of n × m numbers is stored.

    Examples
    --------
    >>> from divmatch.transport import plan
    >>> plan.entropic([0.0, 2.0], [2.5, 0.5], eps=0.01).barycentric().round(6).tolist()
    [[0.5], [2.5]]
    """
    first, second = as_samples(x, "x", weights_x), as_samples(y, "y", weights_y)
    check_partners(first, second)
    given = {"eps": eps, "cost": cost, "unbalanced": unbalanced, "tol": tol, "max_iter": max_iter}
    settings = quantity("sinkhorn").chosen(method).checked({**given, "debiased": debiased})
    effort = Effort(settings.pop("tol"), settings.pop("max_iter"), newton=method == "newton")
    with one_blas_thread(), np.errstate(all="ignore"):
        return solved(first, second, effort=effort, **settings).plan
