"""How a command shows itself: examples first, options by section; used by the help and by man."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click

from divmatch.cli.configuration import apply_configuration, named, origin
from divmatch.errors import DivmatchError, GapError, SettingError


class Command(click.Command):
    """A command with examples and with options grouped in sections.

    ``sections`` maps a heading to the names of the options below it; what is in none of them comes
    first, under "Settings"; --help comes last. ``prepare`` is what the callback does before it reads data.
    """

    def __init__(
        self,
        *arguments: Any,
        examples: Sequence[str] = (),
        notes: str = "",
        sections: Mapping[str, Sequence[click.Parameter]] | None = None,
        prepare: Callable[[dict[str, Any]], Any] | None = None,
        **rest: Any,
    ) -> None:
        rest.setdefault("context_settings", {"help_option_names": ["-h", "--help"]})
        super().__init__(*arguments, **rest)
        self.examples = tuple(examples)
        self.notes = notes
        self.sections = sections or {}
        self.prepare = prepare

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, after the configuration has given its defaults."""
        apply_configuration(ctx, args)
        try:
            return super().parse_args(ctx, args)
        except click.BadParameter as error:
            where = origin(ctx, error.param) if error.param else None
            if where is None:
                raise
            message = " ".join(error.message.split()).rstrip(".")
            raise SettingError(f"{where}: {message}") from None

    def invoke(self, ctx: click.Context) -> Any:
        """Run; an error names the file or the variable that a value comes from."""
        with _named_errors(ctx):
            return super().invoke(ctx)

    def check(self, ctx: click.Context) -> None:
        """Check the values of all options, as far as that goes without data."""
        if self.prepare is not None:
            with _named_errors(ctx):
                self.prepare(ctx.params)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Usage, examples, what it computes, options."""
        self.format_usage(ctx, formatter)
        write_examples(self.examples, formatter)
        self.format_help_text(ctx, formatter)
        self.format_options(ctx, formatter)
        self.format_epilog(ctx, formatter)

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What it computes; indented blocks are tables and stay as they are, as in the manual."""
        blocks = inspect.cleandoc(self.help or "").split("\n\n")
        for block in blocks:
            formatter.write_paragraph()
            with formatter.indentation():
                formatter.write_text(f"\b\n{block}" if block.startswith(" ") else block)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Options under their headings."""
        for title, parameters in self.grouped(ctx).items():
            rows = [row for p in parameters if (row := p.get_help_record(ctx)) is not None]
            rows = [row for row in rows if row[1]]  # an argument without a help is in the usage
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows, col_max=26)

    def grouped(self, ctx: click.Context) -> dict[str, list[click.Parameter]]:
        """Headings with their options; what click adds to the declared ones, --help, comes last."""
        placed = {id(p) for parameters in self.sections.values() for p in parameters}
        own = [p for p in self.params if id(p) not in placed]
        tail = [p for p in self.get_params(ctx) if all(p is not other for other in self.params)]
        return {
            "Settings": own,
            **{title: list(parameters) for title, parameters in self.sections.items()},
            "Help": tail,
        }


@contextmanager
def _named_errors(ctx: click.Context) -> Iterator[None]:
    try:
        yield
    except GapError as error:
        offered = next((p.type for p in ctx.command.params if p.name == "na"), None)
        choices = offered.choices if isinstance(offered, click.Choice) else ()
        ways = tuple(way for way in error.ways if way in choices)
        raise GapError(error.told, ways) from None
    except DivmatchError as error:
        message = named(ctx, str(error))
        if message == str(error):
            raise
        raise type(error)(message) from None


class Group(click.Group):
    """A group of commands with examples."""

    def __init__(self, *arguments: Any, examples: Sequence[str] = (), **rest: Any) -> None:
        rest.setdefault("context_settings", {"help_option_names": ["-h", "--help"]})
        super().__init__(*arguments, **rest)
        self.examples = tuple(examples)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Usage, examples, what it is for, options, commands."""
        self.format_usage(ctx, formatter)
        write_examples(self.examples, formatter)
        self.format_help_text(ctx, formatter)
        self.format_options(ctx, formatter)
        self.format_epilog(ctx, formatter)


def write_examples(examples: Sequence[str], formatter: click.HelpFormatter) -> None:
    """The examples as they are typed, never wrapped."""
    if not examples:
        return
    with formatter.section("Examples"):
        for example in examples:
            formatter.write(f"{'':{formatter.current_indent}}{example}\n")
