"""`divmatch match`: the group of its commands, named in the catalogue and imported when they run."""

from importlib import import_module
from typing import Any

import click

from divmatch.catalogue import MATCH_COMMANDS, MATCH_EVERY
from divmatch.cli.command import Group
from divmatch.errors import suggestion


class Matches(Group):
    """The commands of `divmatch match`: named in the catalogue, imported when they run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every task."""
        return list(MATCH_EVERY)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of a task, its module imported now."""
        if name not in MATCH_EVERY:
            return None
        if name in MATCH_COMMANDS:
            made: click.Command = import_module(MATCH_COMMANDS[name][0]).COMMANDS[name]
            return made
        from divmatch.cli.match_command import match_command_of

        return match_command_of(name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which one was probably meant."""
        if args[0] not in MATCH_EVERY:
            if args[0].startswith("-"):
                raise click.NoSuchOption(args[0], ctx=ctx)
            near = suggestion(args[0], MATCH_EVERY) or "; see divmatch match --help"
            raise click.UsageError(f"no such command '{args[0]}'{near}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """One line a task."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in MATCH_EVERY.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Complete names from the table."""
        from click.shell_completion import CompletionItem

        return [
            CompletionItem(name, help=text)
            for name, (_, text) in MATCH_EVERY.items()
            if name.startswith(incomplete)
        ]


HELP = """Match P with Q: weigh its rows, pair, pick, move or project them.

Every command of two files writes what it made, and says how near P is to Q before and after: after
is measured on rows that the fit behind it has not seen. Fits use one half of the rows, figures the
other, and back; what is written comes from a fit to all rows."""

COMMANDS: dict[str, click.Command] = {
    "match": Matches(
        "match",
        help=HELP,
        short_help=HELP.partition("\n")[0],
        examples=(
            "divmatch match weights real.npy gen.npy -o w.npy",
            "divmatch match weights gen.npy real.npy --moments 2 -o w.npy --max 0.01",
            "divmatch match plan real.npy gen.npy --one-to-one -o pairs.csv",
        ),
    )
}
