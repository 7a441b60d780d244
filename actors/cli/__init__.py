"""The `enfilade` command."""

from enfilade.actors.cli.app import main

__all__ = ["main"]
