"""One command that brings everything on a Linux machine up to date."""

__version__ = "0.1.0"
