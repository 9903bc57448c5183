"""Row-wise divergences: matching rows of two matrices, each a distribution over the same classes.

The kinds are those of `divmatch.estimators.generators` on the same scales, and those that only
matching rows have: renyi, alphanet, akl, bd-kd. A kind is a few sums of `divmatch.kernels.rows` and
how they combine; several kinds share their sums.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import SettingError, suggestion
from divmatch.estimators.generators import FAMILIES, FIXED, Generator, generator
from divmatch.kernels.rows import ONLY_P, ONLY_Q, Rows, Term, row_sums

Array = NDArray[np.float64]
Parts = Mapping[Term, Array]
Combine = Callable[[Parts, Array, Array], Array]

CLIP = 5.0  # AlphaNet's configuration
HEAD = 0.5  # AKL's mu
LIMIT_OF_ALPHA = 1e-3  # AlphaNet takes the limits at 0 and 1 this near to them
ENTROPY_TIE = 1e-12  # entropies nearer than this count as equal

KL, REVERSE = Term("kl"), Term("reverse-kl")
ENTROPY_P, ENTROPY_Q = Term("entropy-p"), Term("entropy-q")
GAP, HALF = Term("gap"), Term("skew", 0.5)


@dataclass(frozen=True, eq=False)
class RowKind:
    """A number for two matching rows: the sums it needs, and ``combine(sums, only p, only q)``.

    ``finite`` says which masses without a partner make it infinite: none, p, q or both.
    """

    name: str
    terms: tuple[Term, ...]
    combine: Combine
    unit: str = "nats"
    symmetric: bool = False


def row_kind(text: str) -> RowKind:
    """The kind called ``text``: kl, js, tv, skew-js:0.1, alpha:2, renyi:inf, alphanet, akl, bd-kd, ...

    Raises
    ------
    SettingError
        For an unknown name, or a number that the kind cannot use.
    """
    name, colon, rest = text.strip().partition(":")
    if name in _OWN:
        return _OWN[name](rest if colon else "")
    if name in FIXED or name in FAMILIES:
        return _of_generator(generator(text))
    known = [*FIXED, *(f"{family}:A" for family in FAMILIES), *NAMES]
    near = suggestion(name, [*FIXED, *FAMILIES, *_OWN])
    raise SettingError(f"--kind {text}: expected one of {', '.join(known)}{near}")


def row_values(
    p: NDArray[np.generic],
    q: NDArray[np.generic],
    kinds: Sequence[RowKind],
    rows: Rows | None = None,
    *,
    keep: NDArray[np.bool_] | None = None,
    work: float = 0.0,
) -> tuple[Array, NDArray[np.int8]]:
    """Every kind for every row, (n, kinds), and which rows are no distribution (see `row_sums`)."""
    terms = list(dict.fromkeys(term for kind in kinds for term in kind.terms))
    sums, wrong = row_sums(p, q, terms, rows or Rows(), keep=keep, work=work)
    parts = {term: sums[:, 2 + t] for t, term in enumerate(terms)}
    with np.errstate(all="ignore"):
        values = [kind.combine(parts, sums[:, ONLY_P], sums[:, ONLY_Q]) for kind in kinds]
    if not values:
        return np.empty((len(p), 0)), wrong
    return np.stack(values, axis=1) + 0.0, wrong  # no −0 where both rows are equal


def term_count(kinds: Sequence[RowKind]) -> int:
    """How many different sums the kinds need."""
    return len({term for kind in kinds for term in kind.terms})


def priced(mass: Array, price: float) -> Array:
    """Mass without a partner at its price; none costs nothing, even at an infinite price."""
    return np.where(mass > 0, mass * price, 0.0)


# ---------------------------------------------------------------------------------- f-divergences


def _of_generator(of: Generator) -> RowKind:
    """Σ q f(p/q), from the sum that keeps most digits."""
    name, _, number = of.name.partition(":")
    if name == "alpha":
        return _alpha(of, float(number))
    if name == "skew-js":
        return _skew(of, float(number))
    terms, combine = _FIXED[name]
    return RowKind(of.name, terms, combine, of.unit, of.symmetric)


def _skew(of: Generator, a: float) -> RowKind:
    term = Term("skew", a)
    return RowKind(of.name, (term,), lambda s, p, q: s[term] / (a * (1.0 - a)), of.unit)


def _alpha(of: Generator, a: float) -> RowKind:
    if a in (0.0, 1.0):
        terms, combine = _FIXED["kl" if a else "reverse-kl"]
        return RowKind(of.name, terms, combine, of.unit)
    term = Term("power", a)

    def summed(s: Parts, only_p: Array, only_q: Array) -> Array:
        return s[term] + priced(only_p, of.at_infinity) + priced(only_q, of.at_zero)

    return RowKind(of.name, (term,), summed, of.unit, of.symmetric)


# kl, reverse-kl and softened-rkl were summed with f(r) ∓ (r − 1): their limits move by ±1
def _kl(s: Parts, only_p: Array, only_q: Array) -> Array:
    return s[KL] + only_q + priced(only_p, math.inf)


def _reverse(s: Parts, only_p: Array, only_q: Array) -> Array:
    return s[REVERSE] + only_p + priced(only_q, math.inf)


def _softened(s: Parts, only_p: Array, only_q: Array) -> Array:
    return s[Term("softened")] + (1.0 - math.log(2.0)) * only_p + priced(only_q, math.inf)


_FIXED: dict[str, tuple[tuple[Term, ...], Combine]] = {
    "kl": ((KL,), _kl),
    "reverse-kl": ((REVERSE,), _reverse),
    "softened-rkl": ((Term("softened"),), _softened),
    "jeffreys": ((KL, REVERSE), lambda s, p, q: _kl(s, p, q) + _reverse(s, p, q)),
    "js": ((HALF,), lambda s, p, q: s[HALF]),
    "js-gan": ((HALF,), lambda s, p, q: 2.0 * s[HALF]),
    "hellinger": ((Term("root"),), lambda s, p, q: 0.5 * s[Term("root")]),
    "hellinger-gan": ((Term("root"),), lambda s, p, q: s[Term("root")]),
    "chi2": ((Term("chi2"),), lambda s, p, q: s[Term("chi2")] + q + priced(p, math.inf)),
    "neyman": ((Term("neyman"),), lambda s, p, q: s[Term("neyman")] + p + priced(q, math.inf)),
    "le-cam": ((Term("le-cam"),), lambda s, p, q: s[Term("le-cam")]),
    "tv": ((GAP,), lambda s, p, q: 0.5 * s[GAP]),
}


# --------------------------------------------------------------------------- kinds of rows alone


def _number(kind: str, text: str, default: float | None = None) -> float:
    if not text and default is not None:
        return default
    try:
        made = float(text)
    except ValueError:
        made = math.nan
    if math.isnan(made):
        raise SettingError(f"--kind {kind}:{text}: expected a number after '{kind}:'")
    return made


def _renyi(text: str) -> RowKind:
    """Rényi divergence of order a > 0; order 1 is KL, inf is ln max p/q."""
    a = _number("renyi", text)
    if a <= 0:
        raise SettingError(f"--kind renyi:{text}: expected a number above 0, or inf")
    name = f"renyi:{a:g}"
    if a == 1.0:
        return RowKind(name, (KL,), _kl)
    term = Term("maximum") if math.isinf(a) else Term("renyi", a)

    def combine(s: Parts, only_p: Array, only_q: Array) -> Array:
        return s[term] + (priced(only_p, math.inf) if a > 1 else 0.0)

    return RowKind(name, (term,), combine)


def _alphanet(text: str) -> RowKind:
    """The larger of D_−1 and D_1 with clipped powers; `alphanet:A` one of them, `A/CLIP` its clip.

    D_a = Σ q [min((p/q)^a, clip) − 1] / (a (a − 1)); a = 1 is KL, unclipped, a = 0 clips the ratio.
    """
    order, _, limit = text.partition("/")
    clip = _number("alphanet", limit, CLIP)
    if not 1 <= clip < math.inf:
        raise SettingError(f"--kind alphanet:{text}: expected a clip of at least 1, after the '/'")
    suffix = "" if clip == CLIP else f"/{clip:g}"
    if order:
        single = _clipped(_number("alphanet", order), clip)
        return RowKind(f"alphanet:{float(order):g}{suffix}", *single, "1")
    least, most = _clipped(-1.0, clip), _clipped(1.0, clip)

    def combine(s: Parts, p: Array, q: Array) -> Array:
        return np.maximum(least[1](s, p, q), most[1](s, p, q))

    return RowKind(f"alphanet{':' + suffix if suffix else ''}", least[0] + most[0], combine, "1")


def _clipped(a: float, clip: float) -> tuple[tuple[Term, ...], Combine]:
    if not math.isfinite(a):
        raise SettingError(f"--kind alphanet:{a:g}: expected a finite number")
    if abs(a - 1.0) < LIMIT_OF_ALPHA:
        return _FIXED["kl"]
    a = 0.0 if abs(a) < LIMIT_OF_ALPHA else a
    at_zero = -1.0 if a > 0 else clip - 1.0  # what Q pays where P has no mass
    price = math.inf if a == 0.0 else at_zero / (a * (a - 1.0))
    term = Term("clipped", a, clip)
    return (term,), lambda s, p, q: s[term] + priced(q, price)


def _akl(text: str) -> RowKind:
    """Adaptive KL: KL(p || q) and KL(q || p), weighted by the gaps |p − q| of P's head and tail."""
    share = _number("akl", text, HEAD)
    if not 0 < share < 1:
        raise SettingError(f"--kind akl:{text}: expected a share above 0, below 1")
    head = Term("head", share)

    def combine(s: Parts, only_p: Array, only_q: Array) -> Array:
        left = np.where(s[GAP] > 0, s[head] / np.where(s[GAP] > 0, s[GAP], 1.0), 0.0)
        left = np.minimum(left, 1.0)
        forward, backward = _kl(s, only_p, only_q), _reverse(s, only_p, only_q)
        # a part without weight costs nothing, even where it is infinite
        return np.where(left > 0, left * forward, 0.0) + np.where(
            left < 1, (1.0 - left) * np.where(s[GAP] > 0, backward, 0.0), 0.0
        )

    name = "akl" if share == HEAD else f"akl:{share:g}"
    return RowKind(name, (GAP, head, KL, REVERSE), combine)


def _balanced(text: str) -> RowKind:
    """Balanced KL a KL(p || q) + b KL(q || p); entropy: 2, 1 where H(q) > H(p), else 1, 2."""
    if text == "equal":
        return RowKind("bd-kd:equal", *_FIXED["jeffreys"])
    if text not in ("", "entropy"):
        raise SettingError(
            f"--kind bd-kd:{text}: expected bd-kd:entropy or bd-kd:equal"
            f"{suggestion(text, ('entropy', 'equal'))}"
        )

    def combine(s: Parts, only_p: Array, only_q: Array) -> Array:
        wider = s[ENTROPY_Q] > s[ENTROPY_P] + ENTROPY_TIE
        forward, backward = _kl(s, only_p, only_q), _reverse(s, only_p, only_q)
        return np.where(wider, 2.0 * forward + backward, forward + 2.0 * backward)

    return RowKind("bd-kd", (KL, REVERSE, ENTROPY_P, ENTROPY_Q), combine)


_OWN: dict[str, Callable[[str], RowKind]] = {
    "renyi": _renyi,
    "alphanet": _alphanet,
    "akl": _akl,
    "bd-kd": _balanced,
}
NAMES = ("renyi:A", "alphanet", "alphanet:A", "akl", "akl:SHARE", "bd-kd", "bd-kd:equal", "sinkd")
