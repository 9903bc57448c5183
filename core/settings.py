"""A setting: what a knob means, which values it takes, and how text becomes a value."""

import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from divmatch.errors import SettingError, suggestion


@dataclass(frozen=True)
class Setting:
    """One knob of an estimator. ``name``, ``types``, ``words`` and ``default`` come from the signature.

    ``above`` and ``below`` exclude the bound, ``least`` and ``most`` include it; ``infinite`` allows
    inf. ``percent`` lets the user write 1% for 0.01. ``parse`` turns a word of an open list into the
    value, or refuses it. ``many`` lets the command line take several, separated by commas: one
    result each, from one pass over the data. ``assumption`` takes both samples and the value, and
    returns warnings about what the value takes for granted; inference asks it once. ``per_row`` takes
    a file of the sample's shape, one number for each row and column; the numbers stand beside the
    sample (`Samples.beside`) and the value is the file's name. ``repeated`` lets the option be given
    several times: the texts are joined by semicolons. ``long`` puts two dashes before a single
    letter. ``callables`` lets Python hand over a function. ``shown`` is what the help shows as the
    value; ``bare`` is what the option means without one.
    """

    meaning: str
    above: float | None = None
    below: float | None = None
    least: float | None = None
    most: float | None = None
    unit: str = ""
    percent: bool = False
    infinite: bool = False
    parse: Callable[[str], Any] | None = None
    many: bool = False
    assumption: Callable[..., tuple[Any, ...]] | None = None
    per_row: bool = False
    repeated: bool = False
    long: bool = False
    callables: bool = False
    shown: str = ""
    bare: str | None = None
    aliases: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    types: tuple[type, ...] = ()
    words: tuple[Any, ...] = ()
    default: Any = None

    @property
    def flag(self) -> str:
        """The option of the command line: -k for one letter, --bandwidth for a word."""
        short = len(self.name) == 1 and not self.long
        return f"-{self.name}" if short else "--" + self.name.replace("_", "-")

    @property
    def metavar(self) -> str:
        """What the help shows as the value: gaussian|laplace, or median|X for words and numbers."""
        if self.shown:
            return self.shown
        parts = [str(word) for word in self.words]
        number = {int: "N", float: "1%" if self.percent else "X", str: "NAME"}
        parts += [number[kind] for kind in self.types if kind in number]
        return "|".join(parts) + (",..." if self.many else "")

    @property
    def range(self) -> str:
        """The allowed numbers in words, or the empty string."""
        bounds = [
            (self.above, "above {}"),
            (self.least, "at least {}"),
            (self.below, "below {}"),
            (self.most, "at most {}"),
        ]
        return ", ".join(text.format(f"{bound:g}") for bound, text in bounds if bound is not None)

    def check(self, value: Any) -> Any:
        """The value as its type, from text or from Python; or say which values are allowed."""
        if value is None and self.default is None:
            return None
        if self.repeated and isinstance(value, tuple | list):
            value = ";".join(map(str, value))
        if self.per_row:
            return str(value)
        if self.callables and callable(value):
            return value
        if self.parse is not None:
            return self.parse(str(value))
        value = self.aliases.get(str(value), value)
        for word in self.words:
            if str(value) == str(word):
                return word
        for kind in self.types:
            made = self._converted(value, kind)
            if made is not None:
                return self._within(made)
        raise SettingError(self._refusal(value))

    def _converted(self, value: Any, kind: type) -> Any:
        if kind is bool:
            return {"true": True, "false": False}.get(str(value).lower())
        if isinstance(value, bool):
            return None
        try:
            if isinstance(value, str) and self.percent and value.endswith("%"):
                return kind(value[:-1]) / 100
            if kind is int and not isinstance(value, str):
                return int(value) if value == int(value) else None
            return kind(value)
        except (TypeError, ValueError, OverflowError):
            return None

    def _within(self, value: Any) -> Any:
        inside = (
            (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
            and (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and value == value  # not NaN
            and (self.infinite or value - value == 0)
        )
        if not inside:
            raise SettingError(self._refusal(value))
        return value

    def _refusal(self, value: Any) -> str:
        number = "a whole number" if int in self.types else "a number"
        kinds = [number] if self.types and bool not in self.types else []
        allowed = " or ".join([*map(str, self.words), *kinds])
        if bool in self.types:
            allowed = "true or false"
        limits = f" {self.range}" if self.range else ""
        near = suggestion(str(value), map(str, self.words))
        return f"{self.flag} {value}: expected {allowed}{limits}{near}"


def settings_of(function: Callable[..., Any]) -> tuple[Setting, ...]:
    """Read the settings off the signature: every keyword-only parameter is one."""
    hints = function.__annotations__  # as written: "np.random.Generator" in quotes loads nothing
    defaults = function.__kwdefaults__ or {}
    return tuple(
        _declared(name, hints[name], default) for name, default in defaults.items() if name != "rng"
    )


def _declared(name: str, hint: Any, default: Any) -> Setting:
    if get_origin(hint) is not Annotated:
        raise TypeError(f"parameter {name} lacks a Setting")
    kind, setting = get_args(hint)
    kinds: list[type] = []
    words: list[Any] = []
    for part in get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,):
        if get_origin(part) is Literal:
            words += get_args(part)
        elif part is not type(None):
            kinds.append(part)
    made: Setting = replace(
        setting, name=name, types=tuple(kinds), words=tuple(words), default=default
    )
    return made
