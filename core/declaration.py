"""What a method and its family declare: settings, texts, which one is meant. Read off a typed function."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

from divmatch.errors import SettingError, suggestion
from divmatch.settings import Setting

M = TypeVar("M", bound="Method")


class Method:
    """One way to do what a command does: a function whose signature and docstring declare it."""

    method: str
    function: Callable[..., Any]
    settings: tuple[Setting, ...]

    @property
    def family(self) -> "Family[Any]":
        """What it is a method of."""
        raise NotImplementedError

    @property
    def flag(self) -> str:
        """How the command line asks for it."""
        return f"--method {self.method}"

    @property
    def doc(self) -> str:
        """The docstring: the only text about this method that anybody writes."""
        return inspect.cleandoc(self.function.__doc__ or "")

    @property
    def random(self) -> bool:
        """Whether it draws random numbers of its own: it takes `rng`."""
        return "rng" in inspect.signature(self.function).parameters

    def checked(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Every setting with its value: the given one if allowed, else the default."""
        known = {setting.name: setting for setting in self.settings}
        for name in given:
            if name not in known:
                raise SettingError(
                    f"{self.family.name} {self.flag} has no setting '{name}'"
                    f"{suggestion(name, known) or self.family.owners(name)}"
                )
        return {name: s.check(given.get(name, s.default)) for name, s in known.items()}


class Family(Generic[M]):
    """The methods of one command, and the one that some settings mean."""

    name: str
    default: str
    methods: dict[str, M]
    on_command: Mapping[str, str]
    noun: ClassVar[str] = "estimator"
    choice: str = ""  # another spelling of --method

    @property
    def help(self) -> str:
        """The first line of the default method's docstring: what this is."""
        return self.methods[self.default].doc.partition("\n")[0]

    def manual(self) -> dict[str, M]:
        """The methods as the manual lists them, by what selects each."""
        return dict(self.methods)

    def settings(self) -> dict[str, Setting]:
        """The settings of all methods by name, in the order of their first appearance."""
        found: dict[str, Setting] = {}
        for method in self.methods.values():
            for setting in method.settings:
                found.setdefault(setting.name, setting)
        return found

    def arrange(self, methods: Sequence[str]) -> None:
        """Put the methods into the order of ``methods``, which names all of them."""
        for method in sorted(self.methods, key=methods.index):
            self.methods[method] = self.methods.pop(method)

    def chosen(self, method: str | None, given: Iterable[str] = ()) -> M:
        """The method called so; without a name, the default.

        Settings that the default lacks name another one: the first method that has them all.
        """
        if method is None:
            return self._meant(set(given))
        if method not in self.methods:
            known = ", ".join(self.methods)
            near = suggestion(method, self.methods)
            raise SettingError(f"{self.name} --method {method}: expected one of {known}{near}")
        return self.methods[method]

    def owners(self, *names: str) -> str:
        """`; -k belongs to knn and nnr`: which methods have these settings, nothing if none has."""
        flags = {name: setting.flag for name, setting in self.settings().items()}
        parts = []
        for name in names:
            having = [
                own
                for own, method in self.methods.items()
                if name in {setting.name for setting in method.settings}
            ]
            if having:
                *first, last = having
                words = f"{', '.join(first)} and {last}" if first else last
                parts.append(f"{flags[name]} belongs to {words}")
        return f"; {', '.join(parts)}" if parts else ""

    def _meant(self, given: set[str]) -> M:
        """The default method or, where it lacks a setting, the first that has all."""
        default = self.methods[self.default]
        for method in (default, *self.methods.values()):
            if given <= {setting.name for setting in method.settings}:
                return method
        known = [name for name in self.settings() if name in given]
        if len(known) == len(given) > 1:
            apart = self.owners(*known).removeprefix("; ")
            raise SettingError(f"{self.name}: no method has all of these settings: {apart}")
        return default
