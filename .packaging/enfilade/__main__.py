"""`python -m enfilade`: the `enfilade` command, by the interpreter at hand."""

from enfilade.actors.cli import main

main()
