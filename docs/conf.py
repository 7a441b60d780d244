"""Sphinx configuration: MyST pages, a reference made from docstrings, the furo theme."""

project = "Enfilade"
author = "The Enfilade authors"
copyright = "2026, The Enfilade authors"  # noqa: A001 (the name is Sphinx's)

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "Enfilade"

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3
suppress_warnings = ["myst.xref_missing", "misc.highlighting_failure", "ref.python"]

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
default_role = "literal"
