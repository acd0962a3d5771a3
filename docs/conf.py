"""How Sphinx builds the site: `make docs`."""

# ruff: noqa: INP001 - Sphinx reads this file by its path

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes
from pygments.lexers.special import TextLexer
from sphinx.addnodes import pending_xref

if TYPE_CHECKING:
    from collections.abc import Iterable

    from docutils.parsers.rst.states import Inliner
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

project = "dcos-etcd"
author = "the dcos-etcd authors"
project_copyright = author
version = release = re.findall(
    r'^version = "(.+)"$', Path(__file__).parents[1].joinpath("pyproject.toml").read_text(), re.MULTILINE
)[0]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
nitpicky = True
# `--flags` must not turn into dashes.
smartquotes = False

myst_heading_anchors = 4
myst_links_external_new_tab = False

html_theme = "furo"
# A line of `--help` has up to 100 characters.
html_theme_options = {name: {"code-font-size": "72%"} for name in ("light_css_variables", "dark_css_variables")}
html_title = f"dcos-etcd {release}"
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False

# In docstrings one pair of backticks says "code", and links to what has an entry in the reference.
default_role = "name"

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Warns", "raises_style")]

# Types of other packages, of which no inventory is at hand, and private ones.
nitpick_ignore_regex = [
    (r"py:class", r"(datetime|timedelta|Path|Axes|Choice|Self|dcos_etcd\.reader\._T)"),
    (
        r"py:(class|obj|exc|data|attr|meth)",
        r"(collections\.abc|datetime|pathlib|os|typing|typing_extensions|types|ssl|subprocess|urllib\.request|asyncio)\..+",
    ),
]

_NAME = re.compile(r"[A-Za-z_]\w*(\.\w+)*(\(\))?\Z")
_HOMES = ("dcos_etcd", "dcos_etcd.testing", "dcos_etcd.dcos", "dcos_etcd.aio")


def name_role(
    _role: str, raw: str, text: str, line: int, inliner: Inliner, *_more: object
) -> tuple[list[nodes.Node], list[nodes.system_message]]:
    """Set a piece of code, as a link where it is the name of something."""
    code = nodes.literal(raw, text, classes=["code"])
    if not _NAME.match(text):
        return [code], []
    reference = pending_xref(
        raw, code, refdomain="py", reftype="name", reftarget=text.removesuffix("()"), refexplicit=False, refwarn=False
    )
    reference.source, reference.line = inliner.reporter.get_source_and_line(line)
    env = inliner.document.settings.env
    reference["refdoc"] = env.docname
    reference["py:module"] = env.ref_context.get("py:module")
    reference["py:class"] = env.ref_context.get("py:class")
    return [reference], []


def resolve(_app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Node) -> nodes.Node | None:
    """Find what is named in short, and the public name of what is annotated with a private one."""
    if node["refdomain"] != "py":
        return None
    domain = env.domains.python_domain
    target = node["reftarget"]
    for full in candidates(target, node.get("py:class")):
        if full in domain.objects:
            kind = domain.objects[full].objtype
            resolved = domain.resolve_xref(
                env, node["refdoc"], env.app.builder, _ROLES.get(kind, "obj"), full, node, content
            )
            if resolved is not None:
                return resolved
    return content if node["reftype"] == "name" else None


_ROLES = {
    "class": "class",
    "exception": "exc",
    "function": "func",
    "method": "meth",
    "attribute": "attr",
    "module": "mod",
}


def candidates(target: str, inside: str | None) -> Iterable[str]:
    """Name the places at which the entry of a name may be."""
    last = target.removeprefix("dcos_etcd.").split(".", 1)[-1]
    for home in _HOMES:
        yield target
        if inside:
            yield f"{home}.{inside}.{target}"
        yield f"{home}.{target}"
        if target.startswith("dcos_etcd."):
            yield f"{home}.{last}"
            yield f"{home}.{target.rpartition('.')[2]}"


def setup(app: Sphinx) -> None:
    """Add the role of plain backticks, and a language of code blocks that has no colours."""
    app.add_role("name", name_role)
    app.add_lexer("cron", TextLexer)
    app.connect("missing-reference", resolve)
