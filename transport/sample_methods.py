"""All methods of `divmatch match sample`, in the order in which help lists them."""

from divmatch.transport import sample_svgd
from divmatch.transport.sampling import SAMPLE

SAMPLE.arrange(["svgd", "coin"])

__all__ = ["SAMPLE", "sample_svgd"]
