"""All methods of ot, in the order in which help lists them."""

from divmatch.transport.exact import OT
from divmatch.transport.orlicz import orlicz

__all__ = ["OT", "orlicz"]
