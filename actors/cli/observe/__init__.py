"""`enfilade observe`: running nodes on a terminal.

It is a client of the observation protocol. What it knows of a node is put together in `sight`, from views
that `observed` keeps open through lost connections; `history` and `lints` draw conclusions from it, and
`words` and `columns` put it into words. The folder `terminal` only draws and asks.
"""
