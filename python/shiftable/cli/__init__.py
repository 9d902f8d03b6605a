"""The command line: each subcommand parses, calls one function, and prints or saves."""

import os
from collections.abc import Sequence

import click

from shiftable.cli.check import check_command
from shiftable.cli.convert import antialias_command, strides_command
from shiftable.cli.figure import figure_command
from shiftable.cli.layers import layers_command
from shiftable.cli.placement import placement_command
from shiftable.cli.read import compare_command, metrics_command
from shiftable.cli.report import report_command
from shiftable.cli.spectrum import spectrum_command
from shiftable.cli.sweep import sweep_command


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns its exit code. Bad input is one line and exit code 2.

    `SHIFTABLE_TRACEBACK=1` shows where an error came from.
    """
    try:
        code = shiftable.main(arguments, prog_name="shiftable", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("shiftable: stopped", err=True)
        return 130
    except Exception as error:  # a user's model may raise anything
        if os.environ.get("SHIFTABLE_TRACEBACK"):
            raise
        if isinstance(error, click.ClickException):
            message = f"{error.format_message().rstrip('.')}; see --help"
        elif isinstance(error, ValueError | ImportError | OSError):
            message = str(error)
        else:
            message = f"{type(error).__name__}: {error}; SHIFTABLE_TRACEBACK=1 shows where"
        click.echo(f"shiftable: {' '.join(message.split())}", err=True)
        return 2
    return code if isinstance(code, int) else 0


@click.group(no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="shiftable")
def shiftable() -> None:
    """Measures, explains and mends the shift-variance of vision networks."""


for _command in (
    sweep_command, metrics_command, compare_command, check_command, figure_command,
    report_command, spectrum_command, layers_command, placement_command, strides_command,
    antialias_command,
):  # fmt: skip
    shiftable.add_command(_command)
