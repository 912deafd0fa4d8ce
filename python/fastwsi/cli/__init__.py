"""The command line: argument parsing only, one file per command."""

from __future__ import annotations

import logging
import sys
from typing import Annotated, Any, NoReturn

import typer

from fastwsi._version import __version__
from fastwsi.cli.data import data
from fastwsi.cli.demo import EXAMPLES as DEMO_EXAMPLES
from fastwsi.cli.demo import demo
from fastwsi.cli.doctor import EXAMPLES as DOCTOR_EXAMPLES
from fastwsi.cli.doctor import doctor
from fastwsi.cli.evaluate import EXAMPLES as EVALUATE_EXAMPLES
from fastwsi.cli.evaluate import evaluate
from fastwsi.cli.export import export
from fastwsi.cli.info import EXAMPLES as INFO_EXAMPLES
from fastwsi.cli.info import info
from fastwsi.cli.normalize import EXAMPLES as NORMALIZE_EXAMPLES
from fastwsi.cli.normalize import normalize
from fastwsi.cli.predict import EXAMPLES as PREDICT_EXAMPLES
from fastwsi.cli.predict import predict
from fastwsi.cli.recipes import recipes
from fastwsi.cli.synth import EXAMPLES as SYNTH_EXAMPLES
from fastwsi.cli.synth import synth
from fastwsi.cli.thumbnail import EXAMPLES as THUMBNAIL_EXAMPLES
from fastwsi.cli.thumbnail import thumbnail
from fastwsi.cli.tissue import EXAMPLES as TISSUE_EXAMPLES
from fastwsi.cli.tissue import tissue
from fastwsi.cli.train import EXAMPLES as TRAIN_EXAMPLES
from fastwsi.cli.train import train

app = typer.Typer(
    name="fastwsi",
    help="Deep learning on gigapixel pathology slides.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
app.command(epilog=DEMO_EXAMPLES)(demo)
app.command(epilog=DOCTOR_EXAMPLES)(doctor)
app.command(epilog=SYNTH_EXAMPLES)(synth)
app.command(epilog=EVALUATE_EXAMPLES)(evaluate)
app.command(epilog=TRAIN_EXAMPLES)(train)
app.command(epilog=PREDICT_EXAMPLES)(predict)
app.command(epilog=INFO_EXAMPLES)(info)
app.command(epilog=THUMBNAIL_EXAMPLES)(thumbnail)
app.command(epilog=TISSUE_EXAMPLES)(tissue)
app.command(epilog=NORMALIZE_EXAMPLES)(normalize)
app.add_typer(data)
app.add_typer(export)
app.add_typer(recipes)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fastwsi {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Deep learning on gigapixel pathology slides."""
    del version  # handled by its callback


def main() -> None:
    """Run the command line; whatever a user typed wrong is told in one line."""
    # What it says of broken files, we say, in one line and once.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    try:
        sys.exit(app(standalone_mode=False))
    except typer.Abort:
        _tell("stopped", code=1)
    except ImportError as error:
        if "--debug" in sys.argv:
            raise
        _tell(f"{error}; fastwsi doctor says what is missing", code=1)
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        _tell_usage(error)


def _tell_usage(error: Any) -> NoReturn:
    """Say what of a command was not understood. The error is click's, or typer's copy of it."""
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(error.ctx.get_help(), err=True)
        sys.exit(error.exit_code)
    where = getattr(getattr(error, "ctx", None), "command_path", "fastwsi")
    _tell(f"{' '.join(error.format_message().split())} See {where} --help.", code=error.exit_code)


def _tell(what: str, *, code: int) -> NoReturn:
    typer.secho(f"error: {what}", fg=typer.colors.RED, err=True)
    sys.exit(code)
