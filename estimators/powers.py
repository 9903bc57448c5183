"""Divergences that are sums of powers of the density ratio: what an estimator of powers can give.

I_s = E_Q (p/q)^s, so that I_0 = I_1 = 1; the logarithms are KL(P || Q) and KL(Q || P).
"""

from dataclasses import dataclass

from divmatch.estimators.generators import generator


@dataclass(frozen=True)
class Powers:
    """constant + Σ c I_s + forward KL(P || Q) + backward KL(Q || P), ``terms`` the pairs (s, c)."""

    constant: float = 0.0
    terms: tuple[tuple[float, float], ...] = ()
    forward: float = 0.0
    backward: float = 0.0


FIXED = {
    "kl": Powers(forward=1.0),
    "reverse-kl": Powers(backward=1.0),
    "jeffreys": Powers(forward=1.0, backward=1.0),
    "hellinger": Powers(1.0, ((0.5, -1.0),)),
    "hellinger-gan": Powers(2.0, ((0.5, -2.0),)),
    "chi2": Powers(-1.0, ((2.0, 1.0),)),
    "neyman": Powers(-1.0, ((-1.0, 1.0),)),
}


def powers_of(kind: str) -> Powers | None:
    """The f-divergence ``kind`` as powers of the ratio; None where it is none."""
    name, _, text = generator(kind).name.partition(":")
    if name != "alpha":
        return FIXED.get(name)
    a = float(text)
    if a in (0.0, 1.0):
        return FIXED["kl" if a else "reverse-kl"]
    scale = 1.0 / (a * (a - 1.0))
    return Powers(-scale, ((a, scale),))


def kinds() -> str:
    """The kinds that are powers of the ratio, for messages."""
    return ", ".join([*FIXED, "alpha:A"])
