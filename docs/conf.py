"""Sphinx configuration: MyST pages, a reference made from docstrings, the furo theme."""

import re
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent))

project = "Enfilade"
author = "The Enfilade authors"
copyright = "2026, The Enfilade authors"  # noqa: A001 (the name is Sphinx's)

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
extensions += ["local_links"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "Enfilade"

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3
suppress_warnings = ["myst.xref_missing", "misc.highlighting_failure", "ref.python"]

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
default_role = "literal"

BACK_LINK = re.compile(r'href="(?P<up>(?:\.\./)*)(?P<document>[^"#]+)\.html#(?P<anchor>[\w.]+)"')
"""A link of a page of source, to a page of the reference."""


def mend_back_links(app: Sphinx, page: str, _template: str, context: dict[str, Any], _tree: Any) -> None:
    """Have the page of a module's source lead back to what the reference says about its parts.

    Sphinx takes for granted that all parts of a module are documented under one name. Ours are documented
    under the names by which they are imported, which are several for some modules.
    """
    if not page.startswith("_modules/"):
        return
    objects = app.env.domains.python_domain.objects

    def mended(link: re.Match[str]) -> str:
        document, anchor = link["document"], link["anchor"]
        if anchor in objects:
            return link[0]
        parts = anchor.split(".")
        for first in range(1, len(parts)):
            end = "." + ".".join(parts[first:])
            for name, entry in objects.items():
                if entry.docname == document and name.endswith(end):
                    return f'href="{link["up"]}{document}.html#{entry.node_id}"'
        return link[0]

    context["body"] = BACK_LINK.sub(mended, context["body"])


def setup(app: Sphinx) -> None:
    app.connect("html-page-context", mend_back_links)
