"""Rows with inertia in a bath: N-particle underdamped Langevin dynamics, its steps solved exactly."""

import math
from typing import NamedTuple

import numpy as np

from divmatch.errors import SettingError
from divmatch.matcher import Array


class Bath(NamedTuple):
    """What slows rows down and shakes them, without units.

    ``friction`` is a multiple of the critical one. The kinetic energy that the bath gives to the rows is
    ``temperature`` times the objective: it cools down as P comes near to Q.
    """

    friction: float
    temperature: float


def bath_of(dynamics: str, friction: float | None, temperature: float | None) -> Bath | None:
    """The bath of langevin, None of gradient; what is not given is 1 and 0.1."""
    if dynamics == "langevin":
        return Bath(
            1.0 if friction is None else friction, 0.1 if temperature is None else temperature
        )
    for flag, value in (("--friction", friction), ("--temperature", temperature)):
        if value is not None:
            raise SettingError(
                f"{flag}: belongs to --dynamics langevin; add that or leave {flag} out"
            )
    return None


def drifted(
    v: Array,
    force: Array,
    time: float,
    friction: float,
    temperature: float,
    rng: "np.random.Generator",
) -> tuple[Array, Array]:
    """How far rows of velocity v have come after some time, and their velocities then.

    Solves dx = v dt, dv = (force − friction v) dt + √(2 friction temperature) dB exactly for a constant
    force; position and velocity of a row are hit by one noise, of which they see different parts.
    """
    lost = -math.expm1(-friction * time)
    kept, run = 1.0 - lost, lost / friction
    far = v * run + force * ((time - run) / friction)
    fast = v * kept + force * run
    if temperature > 0:
        of_v = math.sqrt(temperature * lost * (1.0 + kept))
        both = temperature * lost * lost / friction
        alone = temperature * (2.0 * time - lost * (2.0 + lost) / friction) / friction
        shaken = rng.standard_normal(v.shape)
        fast += of_v * shaken
        far += (both / of_v) * shaken
        rest = math.sqrt(max(alone - (both / of_v) ** 2, 0.0))
        far += rest * rng.standard_normal(v.shape)
    return far, fast
