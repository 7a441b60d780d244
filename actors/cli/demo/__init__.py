"""`enfilade demo`: two zones, a supervision tree in each, and what happens when parts of them are killed."""

from enfilade.actors.cli.demo.show import run_demo

__all__ = ["run_demo"]
