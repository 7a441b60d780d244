"""`enfilade observe --web`: running nodes in a browser.

`server` listens on this machine alone, `entry` and `gate` decide who comes in, `http` and `websocket` speak
the protocols. A page sends orders (`orders`); a `visit` keeps what it looks at, and `views` put the states
of the nodes into words. The folder `page` holds the page itself, as the browser gets it.
"""
