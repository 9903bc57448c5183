"""What `divmatch probs` is asked for: kinds, settings, and the two matrices with their mask."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from divmatch.errors import FileError, SampleError, SettingError
from divmatch.estimators.row_means import Batches, Job, check_partners, tolerance_for
from divmatch.estimators.rows import RowKind, row_kind
from divmatch.estimators.sinkd import Sinkd, sinkd_eps
from divmatch.kernels.rows import Rows
from divmatch.matrices import Matrix, open_matrix, open_vector

NATS = {"nats": 1.0, "bits": 1.0 / math.log(2.0)}
BATCH = 64


@dataclass(frozen=True)
class Asked:
    """One kind of the command line; ``kind`` is None for sinkd, which is a number of batches."""

    name: str
    unit: str
    symmetric: bool
    kind: RowKind | None
    eps: float = 0.0


# ------------------------------------------------------------------------------------- settings


def asked(text: str) -> list[Asked]:
    """The kinds of --kind, each once."""
    made = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        eps = sinkd_eps(part)
        if eps is None:
            kind = row_kind(part)
            made.append(Asked(kind.name, kind.unit, kind.symmetric, kind))
        else:
            name = "sinkd" if eps == Sinkd.eps else f"sinkd:{eps:g}"
            made.append(Asked(name, "1", True, None, eps))
    names = [one.name for one in made]
    if not made:
        raise SettingError("--kind: expected at least one kind, such as kl")
    for name in names:
        if names.count(name) > 1:
            raise SettingError(f"--kind: '{name}' is named twice")
    if sum(one.kind is None for one in made) > 1:
        raise SettingError("--kind: sinkd can be asked for once; run it again with another eps")
    return made


def check_settings(options: Mapping[str, Any], kinds: Sequence[Asked]) -> None:
    """Refuse options that would have no effect, before any file is opened."""
    logits, batched = options["source"] == "logits", any(one.kind is None for one in kinds)
    for flag, given, fits, where in (
        ("--temperature", options["temperature"] != 1.0, logits, "--from logits"),
        ("--times-t2", options["times_t2"], logits, "--from logits"),
        ("--tolerance", options["tolerance"] is not None, options["source"] == "probabilities", "--from probabilities"),  # noqa: E501
        ("--smooth", options["smooth"] != 0.0, options["source"] == "counts", "--from counts"),
        ("--batch", options["batch"] is not None, batched, "--kind sinkd"),
        ("--rounds", options["rounds"] is not None, batched, "--kind sinkd"),
        ("--per-sample", options["per_sample"], batched, "--kind sinkd"),
        ("--debiased", options["debiased"], batched, "--kind sinkd"),
    ):  # fmt: skip
        if given and not fits:
            raise SettingError(f"{flag}: has an effect only with {where}")
    if batched and options["weights"]:
        raise SettingError("--weights: sinkd counts every row of a batch once; drop one of them")
    if options["unit"] == "bits" and not any(one.unit == "nats" for one in kinds):
        raise SettingError(f"--unit bits: {kinds[0].name} is not measured in nats")


def own_settings(one: Asked, options: dict[str, Any]) -> dict[str, Any]:
    """What belongs to one kind alone."""
    if one.kind is not None:
        return {"kind": one.name}
    return {
        "kind": one.name,
        "eps": one.eps,
        "batch": options["batch"] or BATCH,
        "rounds": options["rounds"] or Sinkd.rounds,
        "per_sample": options["per_sample"],
        "debiased": options["debiased"],
    }


def job_of(
    options: dict[str, Any], kinds: Sequence[Asked], p: Matrix, q: Matrix, *, marked: bool
) -> tuple[Job, dict[str, Any]]:
    """The job, and its settings for the record."""
    source, temperature = options["source"], options["temperature"]
    tolerance = tolerance_for(p, q) if options["tolerance"] is None else options["tolerance"]
    settings: dict[str, Any] = {"from": source}
    if source == "logits":
        settings |= {"temperature": temperature, "times_t2": options["times_t2"]}
    elif source == "probabilities":
        settings["tolerance"] = tolerance
    elif options["smooth"]:
        settings["smooth"] = options["smooth"]
    times = temperature**2 if options["times_t2"] else 1.0
    factors = [times * (NATS[options["unit"]] if one.unit == "nats" else 1.0) for one in kinds]
    place = next((k for k, one in enumerate(kinds) if one.kind is None), None)
    batches = None
    if place is not None:
        rounds = options["rounds"] or Sinkd.rounds
        batches = Batches(
            Sinkd(kinds[place].eps, rounds, options["debiased"]),
            place,
            options["batch"] or BATCH,
            options["per_sample"],
        )
    keep, weights = chosen_rows(options, p, q)
    rows = Rows(source, 1.0 / temperature, tolerance)
    job = Job(
        [one.kind for one in kinds],
        np.array(factors),
        rows,
        options["smooth"],
        keep,
        weights,
        batches,
        marked,
    )
    return job, settings


# --------------------------------------------------------------------------------------- inputs


def is_file(given: str | None) -> bool:
    """Whether --mask or --weights names a file rather than a column."""
    return given is not None and (given.endswith(".npy") or ".npz" in given)


def opened(options: dict[str, Any]) -> tuple[Matrix, Matrix]:
    """Both matrices; nothing but headings is read."""
    aside = [name for name in (options["mask"], options["weights"]) if name and not is_file(name)]
    p, q = (
        open_matrix(
            options[role],
            columns=options["columns"],
            aside=aside,
            stdin_format=options["stdin_format"],
        )
        for role in ("reference", "candidate")
    )
    if options["columns"] is not None and p.plain and q.plain:
        raise SettingError(
            f"--columns: {p.name} and {q.name} are plain arrays without column names; drop it"
        )
    check_partners(p, q)
    return p, q


def chosen_rows(
    options: dict[str, Any], p: Matrix, q: Matrix
) -> tuple[NDArray[np.bool_] | None, NDArray[Any] | None]:
    """Which rows count, and how much; a row of weight 0 does not."""
    keep = weights = None
    if options["mask"]:
        mask = one_a_row(options["mask"], "--mask", p, q)
        if mask.dtype.kind == "f" and np.isnan(mask).any():
            raise SampleError(f"{options['mask']}: row {np.flatnonzero(np.isnan(mask))[0]} is NaN")
        keep = np.asarray(mask != 0)
    if options["weights"]:
        weights = one_a_row(options["weights"], "--weights", p, q)
        wrong = np.flatnonzero(~((weights >= 0) & (weights < np.inf)))
        if len(wrong):
            raise SampleError(
                f"{options['weights']}: weight {weights[wrong[0]]} at row {wrong[0]}; weights must "
                "be finite and at least 0"
            )
        keep = (weights > 0) if keep is None else keep & (weights > 0)
    return keep, weights


def one_a_row(given: str, flag: str, p: Matrix, q: Matrix) -> NDArray[Any]:
    """A vector from its own file or from a column of P or Q."""
    if is_file(given):
        vector = open_vector(given, p.rows, p.name)
        if vector.dtype.kind not in "biuf":
            raise FileError(f"{given}: holds {vector.dtype} values, not numbers")
        return vector
    for matrix in (p, q):
        if given in matrix.aside:
            return matrix.aside[given]
    raise FileError(
        f"{flag} {given}: neither {p.name} nor {q.name} has a column of this name, and it is no "
        ".npy or .npz file"
    )
