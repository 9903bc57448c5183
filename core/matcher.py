"""Declare a way to match P with Q once; the function, the command, the manual page and the record follow."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from inspect import signature
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from divmatch.catalogue import MATCHES
from divmatch.declaration import Family, Method
from divmatch.errors import SettingError, suggestion
from divmatch.record import Note, Result
from divmatch.samples import Samples
from divmatch.settings import Setting, settings_of

Array = NDArray[np.float64]
Needs = Literal["always", "optional", "never"]  # whether a method looks at the rows of Q

TASKS: dict[str, "Task"] = {}


@dataclass(frozen=True)
class Figure:
    """What a fit without rows of Q is judged by: a number before and after, and what it is."""

    metric: str
    before: float
    after: float
    unit: str = "1"
    better: Literal["lower", "higher"] = "lower"


@dataclass(frozen=True, eq=False)
class Couples:
    """Pairs of rows of P and Q, with the mass that goes from one to the other and what a unit costs."""

    rows: NDArray[Any]
    columns: NDArray[Any]
    masses: Array
    costs: Array


class Told(NamedTuple):
    """What is found out about a fit once it is made: numbers for the record, results, warnings."""

    facts: Mapping[str, float]
    results: tuple[Result, ...]
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, eq=False)
class Fit:
    """What a method made of P: weights of its rows, the rows moved or chosen, or pairs with rows of Q.

    ``weights`` are of the rows of P, sum 1; ``points`` stand in the place of P's rows, or are new rows
    where ``fresh`` ones were drawn; ``rows`` are numbers of P's rows, which ``weights`` then belong to.
    ``extend`` does the same to rows of P that the fit has not seen: the "after" figure is of such rows.
    ``facts`` are numbers about the fit for the record, in words of the field; ``arrays`` stand beside
    the product in an .npz file, and where rows are chosen, whole numbers there are rows of P.
    ``figure`` is for methods that have no rows of Q to be held out. ``mapping`` sends any rows where
    the fit would; a reusable task stores its fields. ``after`` takes time, and is asked of the fit to
    all rows alone; ``results`` are what it has found, beside those of the metric.
    """

    weights: Array | None = None
    points: Array | None = None
    rows: NDArray[np.intp] | None = None
    couples: Couples | None = None
    fresh: bool = False
    extend: Callable[[Samples], Samples] | None = None
    converged: bool = True
    facts: Mapping[str, float | int | None] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    figure: Figure | None = None
    mapping: Callable[[Array], Array] | None = None
    results: tuple[Result, ...] = ()
    after: Callable[[], Told] | None = None

    def complete(self) -> "Fit":
        """With what `after` has to tell."""
        if self.after is None:
            return self
        facts, results, notes = self.after()
        every = {**self.facts, **facts}
        notes = (*self.notes, *notes)
        return replace(self, facts=every, results=results, notes=notes, after=None)

    def applied(self, x: Samples) -> Samples:
        """The rows of P as the fit has made them."""
        made = x if self.rows is None else x.take(self.rows)
        if self.points is not None:
            weights = None if self.fresh else made.weights
            made = replace(made, points=self.points, weights=weights, beside={}, _derived={})
        if self.weights is not None:
            made = replace(made, weights=self.weights, _derived={})
        return made


class Watch:
    """What a long fit tells while it runs: its curve, its progress, and where it could go on.

    A method that takes ``watch`` calls `step` once an iteration. With ``every`` and a place to keep
    it, the state of a fit survives: `kept` is what `keep` was given last by the same fit.
    """

    def __init__(self) -> None:
        self.curve: list[dict[str, float]] = []

    def step(self, iteration: int, **numbers: float) -> None:
        """One iteration is done."""
        self.curve.append({"iteration": iteration, **numbers})

    def at(self, what: str) -> None:
        """Say what is being done where no iteration of the fit's own is."""

    def kept(self) -> Mapping[str, NDArray[Any]] | None:
        """Where an earlier run of this fit stopped, or None."""
        return None

    def keep(self, state: Callable[[], Mapping[str, NDArray[Any]]]) -> None:
        """Offer the state to go on from; it is taken only now and then."""


@dataclass(frozen=True, eq=False)
class Matcher(Method):
    """One method of a task: a typed function of P and Q, with its settings and source.

    ``long`` methods iterate for minutes: their command has --checkpoint. ``variant`` names the setting
    that the word in METHOD:WORD is for.
    """

    task: "Task"
    method: str
    function: Callable[..., Fit]
    settings: tuple[Setting, ...]
    source: str
    candidate: Needs
    long: bool = False
    variant: str = ""

    @property
    def watched(self) -> bool:
        """Whether it tells of its iterations: it takes `watch`."""
        return "watch" in signature(self.function).parameters

    @property
    def family(self) -> "Task":
        """The task that it does."""
        return self.task

    def __call__(self, x: Samples, y: Samples | None, /, **settings: Any) -> Fit:
        """Fit to checked samples with checked settings."""
        return (
            self.function(x, **settings)
            if self.candidate == "never"
            else self.function(x, y, **settings)
        )


@dataclass(frozen=True, eq=False)
class Task(Family[Matcher]):
    """One command of `divmatch match`: what it makes of P, with the methods that make it.

    ``product`` is what the output holds: one weight a row of P, rows of P's shape, row numbers, new
    rows, or pairs of rows, for which nothing is held out. ``metric`` is what before and after are
    measured with unless --metric says so; ``unheld`` in its place where no row of P can be held out,
    since weights that know their rows need a metric which counts every pair. What a ``reusable`` task
    fits can be saved with --fit and put to other rows with --apply. ``begin`` makes the rows of P
    from the settings and the seed where none are given.
    """

    noun: ClassVar[str] = "method"
    name: str
    product: Literal["weights", "points", "rows", "fresh", "pairs"]
    default: str
    examples: tuple[str, ...]
    metric: str = "energy"
    unheld: str = "energy:method=v"
    choice: str = ""
    reusable: bool = False
    scales: tuple[str, ...] = ("auto", "none", "ref-sd", "ref-iqr", "ref-whiten")
    begin: Callable[[Mapping[str, Any], int], Samples] | None = None
    on_command: Mapping[str, str] = field(default_factory=dict)
    methods: dict[str, Matcher] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name in TASKS:
            raise ValueError(f"two tasks are called {self.name}")
        TASKS[self.name] = self

    @property
    def alone(self) -> bool:
        """Whether no method looks at rows of Q."""
        return all(one.candidate == "never" for one in self.methods.values())

    def method(
        self,
        name: str,
        *,
        source: str,
        candidate: Needs = "always",
        long: bool = False,
        variant: str = "",
    ) -> Callable[[Callable[..., Fit]], Matcher]:
        """Turn a typed function into the method of this task called ``name``."""

        def declare(function: Callable[..., Fit]) -> Matcher:
            known = settings_of(function)
            made = Matcher(self, name, function, known, source, candidate, long, variant)
            self.methods[name] = made
            return made

        return declare

    def spelled(self, text: str | None, given: Mapping[str, Any]) -> tuple[Matcher, dict[str, Any]]:
        """The method that ``gel:chi2`` or ``gel`` names, and the settings with the word after the colon."""
        name, colon, word = (text or "").partition(":")
        settings = dict(given)
        if not colon:
            return self.chosen(name or None, settings), settings
        chosen = self.chosen(name)
        if not chosen.variant:
            having = [f"{one}:" for one, method in self.methods.items() if method.variant]
            known = f"; words follow {', '.join(having)}" if having else ""
            raise SettingError(f"{self.name} --method {text}: {name} is of one kind{known}")
        if chosen.variant in settings:
            flag = next(one.flag for one in chosen.settings if one.name == chosen.variant)
            raise SettingError(
                f"{self.name} --method {text}: names what {flag} does; leave one out"
            )
        return chosen, {**settings, chosen.variant: word}


def task(name: str) -> Task:
    """The task called ``name``; its module is imported on first use."""
    if name not in MATCHES:
        raise SettingError(
            f"match has no command '{name}'{suggestion(name, MATCHES)} (known: {', '.join(MATCHES)})"
        )
    import_module(MATCHES[name][0])
    return TASKS[name]
