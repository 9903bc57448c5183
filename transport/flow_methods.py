"""All methods of `divmatch match flow`, in the order in which help lists them."""

from divmatch.transport import flow_kernel, flow_ratio, flow_sinkhorn, flow_sliced
from divmatch.transport.moving import FLOW

FLOW.arrange(["sliced-riesz", "mmd", "energy", "sliced-w2", "sinkhorn", "kl", "js", "chi2"])

__all__ = ["FLOW", "flow_kernel", "flow_ratio", "flow_sinkhorn", "flow_sliced"]
