"""All methods of `divmatch match map`, in the order in which help lists them."""

from divmatch.transport import map_gaussian, map_monge, map_plan, map_quantile
from divmatch.transport.mapping import MAP

MAP.arrange(["gaussian", "quantile", "ot", "sinkhorn", "monge"])

__all__ = ["MAP", "map_gaussian", "map_monge", "map_plan", "map_quantile"]
