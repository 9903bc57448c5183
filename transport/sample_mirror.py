"""Stein variational methods on domains with an edge: the simplex, positive numbers, a box."""

from dataclasses import replace
from typing import Annotated, Literal

import numpy as np

from divmatch.errors import SettingError
from divmatch.kernels.execution import execution
from divmatch.kernels.pairwise import Profile
from divmatch.kernels.steering import self_products
from divmatch.matcher import Array, Fit, Watch
from divmatch.samples import Samples
from divmatch.scoring import known
from divmatch.settings import Setting
from divmatch.transport.frame import rms
from divmatch.transport.mirrors import Mirror, Mirrored, Simplex, domain_named, mirror_of
from divmatch.transport.particles import by_column, followed
from divmatch.transport.sample_svgd import Stein, scale_of
from divmatch.transport.sampling import (
    SAMPLE,
    Dim,
    Number,
    ScoreCommand,
    Steps,
    TargetName,
    Timeout,
    Tol,
    check_start,
    particles,
    squared_gaps,
    unfinished,
)

Domain = Annotated[
    str,
    Setting(
        "where rows live: shares that sum to 1, numbers above 0, numbers between two bounds",
        parse=domain_named,
        shown="simplex|positive|box:LOW,HIGH",
    ),
]
Space = Annotated[
    Literal["dual", "rows"],
    Setting("where the kernel measures distances: between mirrored rows, or between the rows"),
]
KEPT = 0.98  # of the trace of the kernel matrix: eigenfunctions that are kept
RIDGE = 1e-5  # on the diagonal of the kernel matrix, as in the published algorithm


class InDomain(Stein):
    """A direction of mirrored rows that looks at the rows themselves."""

    def __init__(self, target: Mirrored, a: Array) -> None:
        super().__init__(target, a)
        self.mirror = target.mirror


class ByRows(InDomain):
    """SVGD of mirrored rows with a kernel of the rows: its gradient goes through the map."""

    def at(self, x: Array, last: float = 0.0) -> tuple[Array, float]:
        """Σ aⱼ [k sⱼ + (∇²ψ)⁻¹(θⱼ) ∇k(θⱼ, θᵢ)]."""
        scores, rows = self.scores(x), self.mirror.rows(x)
        own, inverse = self.mirror.coordinates(rows), self.mirror.inverse(rows)
        n, d = own.shape
        scale = scale_of("median", own)
        self.reach = scale_of("median", x)
        mass = self.a[:, None]
        bent = np.einsum("nij,nj->ni", inverse, own)
        carried = np.hstack([mass * scores, mass * bent, mass * inverse.reshape(n, d * d), mass])
        (sums,) = self_products(Profile("gaussian", scale), own, (carried,))
        pushed = np.einsum("nij,nj->ni", sums[:, 2 * d : -1].reshape(n, d, d), own)
        away = (pushed - sums[:, d : 2 * d]) / scale**2
        way = sums[:, :d] + away
        return self.among(way, rms(sums[:, -1:] * scores, self.a) + rms(away, self.a))


class Descent(InDomain):
    """Stein variational mirror descent: a kernel of matrices made of ∇²ψ and eigenfunctions."""

    def at(self, x: Array, last: float = 0.0) -> tuple[Array, float]:
        """Σᵢⱼ (λᵢ λⱼ)^½ uᵢ(θ) Γᵢⱼ bⱼ with bⱼ = E [uⱼ s + (∇²ψ)⁻¹ ∇uⱼ] and Γᵢⱼ = E uᵢ uⱼ ∇²ψ."""
        scores, rows = self.scores(x), self.mirror.rows(x)
        self.reach = scale_of("median", x)
        values, functions, slopes = eigenfunctions(self.mirror.coordinates(rows), self.a)
        weighted = self.a[:, None] * functions
        bent = slopes @ self.mirror.inverse(rows)
        roots = np.sqrt(values)
        drawn = roots[:, None] * (weighted.T @ scores)
        driven = roots[:, None] * np.tensordot(self.a, bent, 1)
        hessians = self.mirror.hessian(rows)
        way, only = (
            (functions * roots) @ _by_metric(weighted, functions, hessians, part)
            for part in (drawn + driven, drawn)
        )
        return self.among(way, 2.0 * rms(only, self.a) + rms(scores, self.a) / len(x))


def _by_metric(weighted: Array, functions: Array, hessians: Array, parts: Array) -> Array:
    """Σⱼ Γᵢⱼ bⱼ, (J, d): Γ is never made, since Σⱼ uⱼ bⱼ is a row for every particle."""
    bent = np.einsum("nij,nj->ni", hessians, functions @ parts)
    return np.asarray(weighted.T @ bent)


def eigenfunctions(own: Array, a: Array) -> tuple[Array, Array, Array]:
    """Eigenvalues λ, eigenfunctions u with E u² = 1, (n, J), and their gradients, (n, J, d).

    Of the kernel (1 + r²/h)^(−1/2) with h = med r² over weighted rows, by Nyström's extension.
    """
    centred = own - own.mean(axis=0)
    gaps, middle = squared_gaps(centred)
    h = middle or 1.0
    kernel = 1.0 / np.sqrt(1.0 + gaps / h)
    cubes = -(kernel**3) / h  # ∇k(x, y) by x is this times x − y
    kernel += RIDGE * np.eye(len(own))
    roots = np.sqrt(a)
    values, vectors = np.linalg.eigh(roots[:, None] * kernel * roots)
    values, vectors = values[::-1], vectors[:, ::-1]
    kept = int(np.searchsorted(np.cumsum(values), KEPT * values.sum())) + 1
    values, carried = values[:kept], roots[:, None] * vectors[:, :kept] / values[:kept]
    moved = np.stack([cubes @ (column[:, None] * carried) for column in centred.T], axis=2)
    slopes = (cubes @ carried)[:, :, None] * centred[:, None, :] - moved
    return values, kernel @ carried, slopes


def _mirrored(
    x: Samples, domain: str, target: str | None, command: str | None, timeout: float, kind: str,
    steps: int, tol: float, watch: Watch,
) -> Fit:  # fmt: skip
    mirror: Mirror = mirror_of(domain)
    free = replace(x, points=mirror.free(x.points, x.name), beside={}, _derived={})
    with known(target, command, timeout, x.d) as density:
        if density.simplex and not isinstance(mirror, Simplex):
            raise SettingError(f"--domain {domain}: {target} lives on the simplex")
        dual, a = Mirrored(density, mirror), x.masses()
        direction = {"dual": Stein, "rows": ByRows, "svmd": Descent}[kind](dual, a)
        swarm, converged = followed(free.points, a, direction, by_column, steps, tol, watch)
        facts = {"steps": swarm.k, "direction": swarm.size}
        notes = () if converged else (unfinished(swarm.k, swarm.size, tol),)
        fit = particles(free, swarm.x, dual, facts=facts, converged=converged, notes=notes)
    points = mirror.rows(swarm.x)
    moved = rms(points - x.points, a)
    return replace(fit, points=points, facts={**fit.facts, "moved": moved})


@SAMPLE.method(
    "msvgd",
    source="Shi, Liu & Mackey 2022, arXiv 2106.12506, algorithm 1",
    candidate="never",
    long=True,
)
def msvgd(
    x: Samples,
    *,
    target: TargetName = None,
    score_command: ScoreCommand = None,
    timeout: Timeout = 60.0,
    n: Number = None,
    dim: Dim = None,
    domain: Domain = "simplex",
    space: Space = "dual",
    steps: Steps = 1000,
    tol: Tol = 1e-3,
    watch: Watch,
) -> Fit:
    """Particles on a domain with an edge, by Stein variational gradient descent of mirrored rows.

    A mirror map turns a row θ of the domain into a row η of any numbers: ηᵢ = ln θᵢ / θ_D on the simplex,
    ln θ of positive numbers, a logit in a box. SVGD moves η, whose density has the score (∇²ψ)⁻¹ ∇ ln p(θ)
    + ∇ ln det ∇²ψ*(η). No particle can leave the domain.

    Parameters
    ----------
    x : Samples
        Rows to start from, inside the domain. Left out, --n rows all over it.
    target : str
        As for the method svgd, and dirichlet:A1,A2,... or dirichlet:FILE.npy on the simplex. Of a
        density on the simplex scores are by all columns, as if they were free.
    score_command : str
        As for the method svgd.
    timeout : float
        As for the method svgd.
    n : int, optional
        As for the method svgd.
    dim : int, optional
        As for the method svgd.
    domain : str
        simplex, positive, or box:LOW,HIGH with the same bounds for all columns.
    space : str
        dual: the gaussian kernel of η; rows: of θ.
    steps : int
        As for the method svgd.
    tol : float
        As for the method svgd.
    watch : Watch
        As for the method svgd.

    Returns
    -------
    Fit
        The particles; KSD² is that of η.

    Notes
    -----
    Cost: O(n² d) time a step, of the kernel of rows O(n² d²); O(n d²) memory.

    Source: Shi, Liu & Mackey 2022, Sampling with mirrored Stein operators (ICLR, arXiv 2106.12506),
    algorithm 1.

    Examples
    --------
    >>> import divmatch
    >>> found = divmatch.match.sample(target="dirichlet:2,3,5", n=60, method="msvgd")
    >>> found.points.mean(axis=0).round(2).tolist()
    [0.2, 0.3, 0.5]
    """
    check_start(x, n, dim)
    return _mirrored(x, domain, target, score_command, timeout, space, steps, tol, watch)


@SAMPLE.method(
    "svmd",
    source="Shi, Liu & Mackey 2022, arXiv 2106.12506, algorithm 2",
    candidate="never",
    long=True,
)
def svmd(
    x: Samples,
    *,
    target: TargetName = None,
    score_command: ScoreCommand = None,
    timeout: Timeout = 60.0,
    n: Number = None,
    dim: Dim = None,
    domain: Domain = "simplex",
    steps: Steps = 1000,
    tol: Tol = 1e-3,
    watch: Watch,
) -> Fit:
    """Particles on a domain with an edge, by Stein variational mirror descent.

    As msvgd, with a kernel whose values are matrices: K(θ, θ') = Σᵢⱼ (λᵢ λⱼ)^½ uᵢ(θ) uⱼ(θ') E uᵢ uⱼ ∇²ψ,
    where λ and u are eigenvalues and eigenfunctions of (1 + r²/h)^(−1/2) with h = med r² over the
    particles, as many as have 98 % of the trace. It follows the geometry of ψ, and suits targets at the edge.

    Parameters
    ----------
    x : Samples
        As for the method msvgd.
    target : str
        As for the method msvgd.
    score_command : str
        As for the method svgd.
    timeout : float
        As for the method svgd.
    n : int, optional
        As for the method svgd.
    dim : int, optional
        As for the method svgd.
    domain : str
        As for the method msvgd.
    steps : int
        As for the method svgd.
    tol : float
        As for the method svgd.
    watch : Watch
        As for the method svgd.

    Returns
    -------
    Fit
        As for the method msvgd.

    Notes
    -----
    The eigenfunctions are of the kernel matrix with 1e-5 more on its diagonal, and hold 98 % of its
    trace.

    Cost: O(n³ + n² d J) time a step with J eigenfunctions, O(n²) memory.

    Source: Shi, Liu & Mackey 2022, Sampling with mirrored Stein operators (ICLR, arXiv 2106.12506),
    algorithm 2.

    Examples
    --------
    >>> import divmatch
    >>> found = divmatch.match.sample(target="dirichlet:2,3,5", n=50, method="svmd")
    >>> found.points.mean(axis=0).round(1).tolist()
    [0.2, 0.3, 0.5]
    """
    check_start(x, n, dim)
    needed, room = 64 * x.n * x.n, execution().memory
    if needed > room:
        raise SettingError(
            f"--method svmd: matrices of {x.n} x {x.n} need {needed >> 20} MiB, and {room >> 20} are allowed "
            "(--max-memory); choose msvgd"
        )
    return _mirrored(x, domain, target, score_command, timeout, "svmd", steps, tol, watch)
