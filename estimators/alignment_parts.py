"""What the alignments by neighbours share: both lists, chance, kernels of common pairs."""

from dataclasses import dataclass, field

import numpy as np

from divmatch.errors import InconclusiveError, counted
from divmatch.estimator import Array
from divmatch.estimators.feature_kernels import unbiased
from divmatch.estimators.neighbour_lists import Integers, Lists, lists_of
from divmatch.record import Note


@dataclass(frozen=True, eq=False)
class Pair:
    """Two embeddings of the same rows, their weights, their neighbours."""

    a: Array
    b: Array
    w: Array
    lists: Lists
    kept: dict[str, float] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.a)


def pair_of(a: Array, b: Array, w: Array, k: int) -> Pair:
    """Search the neighbours of both."""
    if len(a) < k + 2:
        raise InconclusiveError(
            f"align: {counted(len(a), 'row')}, expected at least k + 2 = {k + 2}; choose a smaller -k"
        )
    return Pair(a, b, w, lists_of(a, b, k))


def tied_notes(pair: Pair) -> tuple[Note, ...]:
    """Say how many lists are a matter of luck."""
    if not pair.lists.tied:
        return ()
    rows = counted(pair.lists.tied, "row")
    return (Note("W64", f"{rows} with ties among the nearest neighbours, broken at random"),)


def chance_of_return(lists: Lists, w: Array) -> float:
    """Σ wᵢ [1 − C(n − 1 − dᵢ, k)/C(n − 1, k)], dᵢ the lists of A that row i is in: k random rows meet one."""
    n, k = lists.n, lists.k
    degree = np.bincount(lists.a[:, :k].ravel(), minlength=n)
    missed = np.ones(n)
    for t in range(k):
        missed *= np.maximum(n - 1 - degree - t, 0) / (n - 1 - t)
    return float(w @ (1.0 - missed))


Edges = tuple[Integers, Integers, Array, Array]  # rows, neighbours, kernel values of both


def masked(pair: Pair, order: Integers | None = None) -> float:
    """CKNNA, with the rows of b in an order."""
    lists = pair.lists
    order = np.arange(pair.n) if order is None else order
    rows, places = lists.edges(order)
    near = lists.a[rows, places]
    left = np.einsum("ij,ij->i", pair.a[rows], pair.a[near])
    right = np.einsum("ij,ij->i", pair.b[order[rows]], pair.b[order[near]])
    if "norms" not in pair.kept:
        pair.kept["norms"] = _norms(pair)
    return _hsic((rows, near, left, right), pair.n) / pair.kept["norms"]


def _norms(pair: Pair) -> float:
    """√ of the product of what each embedding has with itself."""
    found = []
    for points, lists in ((pair.a, pair.lists.a), (pair.b, pair.lists.b)):
        rows, near = np.repeat(np.arange(pair.n), pair.lists.k), lists.ravel()
        values = np.einsum("ij,ij->i", points[rows], points[near])
        found.append(_hsic((rows, near, values, values), pair.n))
    if not min(found) > 0:
        raise InconclusiveError("align: the neighbours of an embedding have no variance")
    return float(np.sqrt(found[0]) * np.sqrt(found[1]))


def _hsic(edges: Edges, n: int) -> float:
    """The unbiased HSIC of two matrices that are zero beyond the edges."""
    rows, near, left, right = edges
    if n < 4:
        raise InconclusiveError("align: the unbiased HSIC needs 4 rows")
    sent, back = rows * n + near, near * n + rows
    order = np.argsort(sent)
    place = np.minimum(np.searchsorted(sent[order], back), max(len(sent) - 1, 0))
    there = sent[order][place] == back if len(sent) else np.zeros(0, dtype=bool)
    trace = float(np.sum(left[there] * right[order[place[there]]]))
    columns = np.bincount(near, left, n)
    chains = float(columns @ np.bincount(rows, right, n))
    return unbiased(trace, float(left.sum() * right.sum()), chains, n)
