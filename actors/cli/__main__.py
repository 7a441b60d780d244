"""`python -m actors.cli`: the `enfilade` command, by the interpreter at hand."""

from actors.cli.app import main

main()
