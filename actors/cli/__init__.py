"""The `enfilade` command."""

from actors.cli.app import main

__all__ = ["main"]
