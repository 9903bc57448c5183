"""Provenance: what the record says about the samples behind a result."""

from typing import Any

import numpy as np

from divmatch.samples import Samples


def fingerprint(samples: Samples) -> str:
    """``blake2b:`` and 16 hexadecimal digits over shape, points and weights."""
    from hashlib import blake2b

    digest = blake2b(repr(samples.points.shape).encode(), digest_size=8)
    for part in (samples.points, samples.weights, *samples.beside.values()):
        if part is not None:
            digest.update(np.ascontiguousarray(part, dtype="<f8").data)
    return f"blake2b:{digest.hexdigest()}"


def input_info(samples: Samples, role: str) -> dict[str, Any]:
    """Describe a sample for the record; role is p, q, ref or sample."""
    origin = samples.origin
    known = {"kind": origin["kind"]} if "kind" in origin else {}
    return {
        "role": role,
        "name": samples.name,
        **known,
        "rows": origin.get("rows", samples.n),
        "cols": origin.get("cols", samples.d),
        "rows_used": samples.n,
        "dropped": dict(origin.get("dropped", {})),
        "weights": origin.get("weights"),
        "ess": None if samples.weights is None else samples.effective_size(),
        "fingerprint": fingerprint(samples),
    }
