"""All methods of `divmatch match sample`, in the order in which help lists them."""

from divmatch.transport import sample_gaussian, sample_mirror, sample_natural, sample_svgd
from divmatch.transport.sampling import SAMPLE

SAMPLE.arrange(["svgd", "coin", "svng", "msvgd", "svmd", "fb-gvi"])

__all__ = ["SAMPLE", "sample_gaussian", "sample_mirror", "sample_natural", "sample_svgd"]
