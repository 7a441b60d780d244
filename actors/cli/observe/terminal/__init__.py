"""Running nodes on a terminal: a Textual program, in which trio runs as a guest of Textual's loop.

`app` is the program, and `board` its one large widget, which shows a page. A page is a plain object: it holds
what it knows, draws itself as lines of text, and takes keys. `guest_run` is the bridge between the two loops.
"""
