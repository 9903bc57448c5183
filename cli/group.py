"""The lazy command group: help and completion read a static table and import no estimator."""

import os
from importlib import import_module
from typing import Any

import click

from divmatch.catalogue import COMMANDS, EVERY, QUANTITIES, SECTIONS, SHAPED, SINGLES
from divmatch.cli.main import COMPLETE, USAGE, say
from divmatch.errors import SettingError, suggestion

SHELLS = ("bash", "zsh", "fish")
EPILOG = "divmatch COMMAND --help shows examples and every option; divmatch help lists topics."


class LazyGroup(click.Group):
    """Commands are named in `divmatch.catalogue` and imported when they run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command, in the order of the help."""
        return [name for names in SECTIONS.values() for name in names]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command called ``name``, its module imported now."""
        if name in QUANTITIES:
            from divmatch.cli.estimate import command_of

            return command_of(name)
        if name in SINGLES:
            from divmatch.cli.single import single_command_of

            return single_command_of(name)
        if name in SHAPED:
            from divmatch.cli.shaped import shaped_command_of

            return shaped_command_of(name)
        if name in COMMANDS:
            made: dict[str, click.Command] = import_module(COMMANDS[name][0]).COMMANDS
            return made[name]
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say which one was probably meant."""
        name = args[0]
        command = self.get_command(ctx, name)
        if command is None:
            if name.startswith("-"):
                raise click.NoSuchOption(name, ctx=ctx)
            near = suggestion(name, self.list_commands(ctx)) or "; see divmatch --help"
            raise click.UsageError(f"no such command '{name}'{near}", ctx)
        return name, command, args[1:]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """One line a command, by section."""
        for title, names in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name, EVERY[name][1]) for name in names])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Complete names from the table, without importing the commands."""
        from click.shell_completion import CompletionItem

        return [
            CompletionItem(name, help=EVERY[name][1])
            for name in self.list_commands(ctx)
            if name.startswith(incomplete)
        ]


def _version(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from divmatch import __version__

        click.echo(f"divmatch {__version__}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    name="divmatch",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EPILOG,
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Show the version and exit.",
)
@click.pass_context
def app(ctx: click.Context) -> int | None:
    """Divergence estimation and distribution matching: one number with its uncertainty, a test,
    a verdict with an exit code.
    """  # noqa: D205
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(USAGE)
    return None


def complete(wanted: str) -> int:
    """What a shell asked for through the environment: its script, or the completions of a line."""
    from click.shell_completion import shell_complete

    shell, _, task = wanted.partition("_")
    if shell not in SHELLS or task not in ("source", "complete"):
        known = ", ".join(f"{name}_source" for name in SHELLS)
        raise SettingError(f"{COMPLETE}={wanted}: expected {known}; see divmatch completion")
    place = os.environ.get("COMP_CWORD", "")
    given = "COMP_WORDS" in os.environ and (shell == "fish" or place.isdecimal())
    if task == "complete" and not given:
        raise SettingError(f"{COMPLETE}={wanted}: COMP_WORDS and COMP_CWORD must hold the line")
    return shell_complete(app, {}, "divmatch", COMPLETE, wanted)


def complain(error: click.ClickException) -> int:
    """A usage error as one line; the exit code."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return USAGE
    if isinstance(error, click.NoSuchOption):
        known = [
            name for p in _parameters(error, click.Option) for name in (*p.opts, *p.secondary_opts)
        ]
        known += [
            f"--method {method}"
            for p in _parameters(error, click.Option)
            if "--method" in p.opts
            for method in str(p.metavar or "").split("|")
        ]
        message = f"no such option '{error.option_name}'{suggestion(error.option_name, known)}"
        if _parameters(error, click.Argument) and not error.option_name.startswith("--"):
            message += "; file names that begin with - come after --"
    else:
        message = error.format_message().rstrip(".")
        message = message[:1].lower() + message[1:]
    context = getattr(error, "ctx", None)
    where = "" if context is None else context.command_path.removeprefix("divmatch").strip()
    say(f"error: {where + ': ' if where else ''}{' '.join(message.split())}")
    return USAGE if error.exit_code == 1 else error.exit_code


def _parameters(error: click.NoSuchOption, kind: type[click.Parameter]) -> list[click.Parameter]:
    every = error.ctx.command.get_params(error.ctx) if error.ctx else []
    return [p for p in every if isinstance(p, kind)]
