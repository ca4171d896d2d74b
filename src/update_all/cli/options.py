"""Command-line options that several commands share."""

from __future__ import annotations

import argparse


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Plugins by name or `@tag`."""
    parser.add_argument("names", nargs="*", metavar="PLUGIN", help="plugins, or @tags; default: all enabled")
    parser.add_argument("--plugin", action="append", default=[], metavar="NAME", help="as PLUGIN; repeatable")
    parser.add_argument(
        "-x", "--exclude", action="append", default=[], metavar="NAME", help="leave a plugin or @tag out"
    )


def add_output(parser: argparse.ArgumentParser) -> None:
    """How results are shown."""
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    parser.add_argument("--color", choices=("auto", "always", "never"), default="auto")


def add_progress(parser: argparse.ArgumentParser) -> None:
    """How a run is shown while it lasts."""
    parser.add_argument(
        "--progress",
        choices=("auto", "live", "plain", "jsonl", "none"),
        default="auto",
        help="how the run is shown (default: live on a terminal, else plain)",
    )
    add_tui(parser)


def add_tui(parser: argparse.ArgumentParser) -> None:
    """The full screen."""
    parser.add_argument("--tui", action="store_true", help="show the run on the whole terminal")


def add_engine(parser: argparse.ArgumentParser) -> None:
    """How a run is carried out."""
    parser.add_argument("-j", "--jobs", type=positive, metavar="N", help="steps at the same time")
    parser.add_argument(
        "--fail-fast", action="store_true", help="start nothing new after the first failed step"
    )
    parser.add_argument("--wait", action="store_true", help="wait for another run to end")
    parser.add_argument("--no-input", action="store_true", help="never ask, not even for a password")


def add_downgrade(parser: argparse.ArgumentParser) -> None:
    """The permission to go back to an older release."""
    parser.add_argument(
        "--allow-downgrade",
        action="store_true",
        help="accept a release older than one that was offered before, in this run only",
    )


def positive(text: str) -> int:
    """A whole number of at least 1, for argparse."""
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text!r}")
    return int(text)


def chosen(options: argparse.Namespace) -> list[str]:
    """The plugins that were named, in either way."""
    return [*options.names, *options.plugin]
