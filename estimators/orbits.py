"""Sums of a kernel averaged over a group: k_G(x, y) = (1/|G|) Σ_g k(x, g·y), symmetric like k.

The elements are isometries, so k(x, g·y) = k(g⁻¹·x, y): the matrices of g and g⁻¹ are each other's
transpose, and sums within one sample visit one of the two. Without a group these are the sums of
`divmatch.kernels.pairwise`.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.estimators.invariance import Group
from divmatch.kernels import forms, pairwise
from divmatch.kernels.pairwise import Profile

Array = NDArray[np.float64]


def cross_sums(
    profile: Profile, x: Array, y: Array, a: Array, b: Array, group: Group | None
) -> tuple[Array, Array]:
    """(K b, Kᵀ a) for K = k_G(xᵢ, yⱼ); shapes (n,), (m,). Time O(|G|·n·m·d)."""
    if group is None:
        return pairwise.cross_sums(profile, x, y, a, b)
    along, down = np.zeros(len(x)), np.zeros(len(y))
    for move in group.moves:
        rows, columns = pairwise.cross_sums(profile, x, group.moved(y, move), a, b)
        along += rows
        down += columns
    return along / group.size, down / group.size


def self_sums(profile: Profile, x: Array, a: Array, group: Group | None) -> Array:
    """K a for K = k_G(xᵢ, xⱼ), the diagonal included; shape (n,). Time O(|G|·n²·d / 2)."""
    if group is None:
        return pairwise.self_sums(profile, x, a)
    total = pairwise.self_sums(profile, x, a)
    for move, twice in group.halves():
        if move == group.moves[0]:
            continue
        along, down = pairwise.cross_sums(profile, x, group.moved(x, move), a, a)
        total += along + down if twice else along
    return total / group.size


def diagonal(profile: Profile, x: Array, group: Group | None) -> Array:
    """k_G(xᵢ, xᵢ); shape (n,). A row's images are no rows of their own: its U-statistic lacks them."""
    if group is None:
        return profile.own(x)
    total = np.zeros(len(x))
    for move in group.moves:
        total += pairwise.matched(profile, x, group.moved(x, move))
    return total / group.size


def quadratic_forms(
    profile: Profile, z: Array, marks: NDArray[Any], w: Array, group: Group | None
) -> tuple[Array, Array, float]:
    """vᵀKv and wᵀKv of v = m∘w for every column m of the marks, and wᵀKw, for K = k_G(zᵢ, zⱼ)."""
    own, mixed, total = forms.quadratic_forms(profile, z, marks, w)
    if group is None:
        return own, mixed, total
    v = marks * w[:, None]
    both = np.column_stack([v, w])
    for move, twice in group.halves():
        if move == group.moves[0]:
            continue
        images = pairwise.product(profile, z, group.moved(z, move), both)
        times = 2 if twice else 1
        own = own + times * np.einsum("ib,ib->b", v, images[:, :-1])
        mixed = mixed + times * 0.5 * (w @ images[:, :-1] + images[:, -1] @ v)
        total += times * float(w @ images[:, -1])
    return own / group.size, mixed / group.size, total / group.size


def log_sums(
    x: Array, y: Array, log_b: Array, group: Group | None, own: NDArray[np.int64] | None = None
) -> Array:
    """Ln Σⱼ bⱼ k_G(xᵢ, yⱼ) for the gaussian of bandwidth 1, without row j = ownᵢ; shape (n,)."""
    if group is None:
        return pairwise.log_sums(x, y, log_b, own)
    parts = [pairwise.log_sums(x, group.moved(y, move), log_b, own) for move in group.moves]
    top = np.maximum(np.max(parts, axis=0), pairwise.LOWEST)
    with np.errstate(divide="ignore"):
        return top + np.log(sum(np.exp(part - top) for part in parts) / group.size)
