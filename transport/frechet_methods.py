"""All methods of frechet, in the order in which help lists them."""

from divmatch.transport.frechet import FRECHET
from divmatch.transport.frechet_mixture import frechet_mixture

__all__ = ["FRECHET", "frechet_mixture"]
