"""Sums over the classes of matching rows of two matrices: the parts of row-wise divergences.

A row of P and a row of Q become distributions p and q over the same K classes: divided by their sum
(probabilities, counts), or by softmax of scale · z (logits). A mass below e^−700 of the largest enters
by its logarithm where it counts, as in p²/q; -inf alone rules a class out. With l = ln(p/q) and Σ'
the sum over the classes that both may take:

============ ==========================================================================
kl           Σ' p l − (p − q)
reverse-kl   Σ' (p − q) − q l
gap          Σ |p − q|
root         Σ (√p − √q)²
chi2         Σ' (p − q) (e^l − 1)
neyman       Σ' (q − p) (e^−l − 1)
le-cam       Σ (p − q)² / (p + q)
skew a       Σ a p ln(p/m) + (1 − a) q ln(q/m), m = a p + (1 − a) q
softened     Σ' (p + q) ln((p + q) / (2 p)) + (p − q)
power a      Σ' q f(p/q), f(r) = (r^a − 1 − a (r − 1)) / (a (a − 1)); a not 0 or 1
renyi a      ln Σ' p^a q^(1−a) / (a − 1); a not 1
maximum      max' l, at least 0
clipped a c  Σ' q (min(r^a, c) − 1) / (a (a − 1)); at a = 0 −Σ' q ln min(r, c)
head s       Σ |p − q| over the likeliest classes of p whose masses add up to at most s
entropy-p    −Σ p ln p
entropy-q    −Σ q ln q
============ ==========================================================================

The terms (p − q), which add up to nothing over all classes, leave only what is of second order: rows
that hardly differ keep their digits. Mass without a partner is handed out beside the sums.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from divmatch.kernels.backend import to_device, to_host, twin

Array = NDArray[np.float64]
SourceName = Literal["probabilities", "counts", "logits"]

CODES = (
    "kl",
    "reverse-kl",
    "gap",
    "root",
    "chi2",
    "neyman",
    "le-cam",
    "skew",
    "softened",
    "power",
    "renyi",
    "maximum",
    "clipped",
    "head",
    "entropy-p",
    "entropy-q",
)
COMPILED_FROM = 4e7  # n·K·(3 + terms) operations from which loading the compiled twin (0.7 s) pays
ONLY_P, ONLY_Q = 0, 1  # the first two columns: mass of P where Q has none, and the other way round
WRONG_P, WRONG_Q = 1, 2


class Term(NamedTuple):
    """One of the sums of the table, with its numbers."""

    name: str
    number: float = 0.0
    limit: float = np.inf


class Rows(NamedTuple):
    """How numbers become distributions; ``tolerance`` is what a sum may differ from 1 by."""

    source: SourceName = "probabilities"
    scale: float = 1.0
    tolerance: float = 1e-6


def row_sums(
    p: NDArray[Any],
    q: NDArray[Any],
    terms: Sequence[Term],
    rows: Rows,
    *,
    keep: NDArray[np.bool_] | None = None,
    work: float = 0.0,
) -> tuple[Array, NDArray[np.int8]]:
    """Sums (n, 2 + terms) of rows (n, K), and per row 0, WRONG_P or WRONG_Q where it is none.

    The first two columns are the masses of P and of Q that have no partner. Rows that ``keep``
    leaves out are not looked at and stay 0. ``work`` is that of the whole job, of which this may be
    a block: it chooses the twin. Time O(n·K·terms); memory O(K), the array-module twin O(block).
    """
    codes = np.array([CODES.index(term.name) for term in terms], dtype=np.int64)
    numbers = np.array([term.number for term in terms], dtype=np.float64)
    limits = np.array([term.limit for term in terms], dtype=np.float64)
    kept = np.ones(len(p), dtype=np.bool_) if keep is None else keep
    p, q = _alike(p, q)
    engine = twin(work, COMPILED_FROM)
    sums, wrong = engine.row_sums(
        to_device(p, work), to_device(q, work), codes, numbers, limits, kept, *rows
    )
    return to_host(sums), to_host(wrong)


def distributions(block: NDArray[Any], rows: Rows) -> tuple[Array, NDArray[np.bool_]]:
    """Rows of a block as distributions, (n, K), and which of them are any."""
    from divmatch.kernels.gpu.rows import shares, softmax

    numbers = block.astype(np.float64)
    with np.errstate(all="ignore"):
        if rows.source == "logits":
            masses, _, sound = softmax(np, numbers, rows.scale)
        else:
            masses, sound = shares(np, numbers, rows.source, rows.tolerance)
    return masses, sound


def work_of(n: int, classes: int, terms: int) -> float:
    """The elementary operations of a whole job."""
    return float(n) * classes * (3 + terms)


def _alike(p: NDArray[Any], q: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both as float32 or both as float64, in C order: the two types that the twins know."""
    small = all(a.dtype.kind == "f" and a.dtype.itemsize <= 4 for a in (p, q))
    kind = np.float32 if small else np.float64
    return np.ascontiguousarray(p, dtype=kind), np.ascontiguousarray(q, dtype=kind)
