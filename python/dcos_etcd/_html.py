"""Sheets as HTML: a fragment for notebooks, and a page for a browser. No scripts, nothing remote, every word escaped.

Colours follow JupyterLab's and VS Code's themes by the variables that they set on the pages around a fragment, and
elsewhere the reader's own choice of light or dark.
"""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING

from dcos_etcd._sheet import Fields, Remark, Steps, Table, one_line

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dcos_etcd._sheet import Block, Sheet

# The class stands three times where a notebook's own rules for tables must give way.
_STYLE = """\
.dcos-etcd{
--de-text:#1f2328;--de-soft:#59636e;--de-line:#d1d9e0;--de-bar:#4a90d9;
--de-good:#1a7f37;--de-info:#0969da;--de-warning:#bf8700;--de-critical:#cf222e;
color:var(--jp-content-font-color1,var(--vscode-editor-foreground,var(--de-text)));
font-size:var(--jp-content-font-size1,14px);line-height:1.45;margin:.25em 0}
@media(prefers-color-scheme:dark){.dcos-etcd{
--de-text:#e6edf3;--de-soft:#9198a1;--de-line:#3d444d;--de-bar:#4493f8;
--de-good:#3fb950;--de-info:#4493f8;--de-warning:#d29922;--de-critical:#f85149}}
.dcos-etcd .de-wide{overflow-x:auto;margin:0 0 1em}
.dcos-etcd.dcos-etcd.dcos-etcd table{border-collapse:collapse;border:0;margin:0;table-layout:auto;
font-size:inherit;color:inherit}
.dcos-etcd.dcos-etcd.dcos-etcd caption{caption-side:top;text-align:left;font-weight:600;padding:0 0 .35em;color:inherit}
.dcos-etcd.dcos-etcd.dcos-etcd caption.de-heard{position:absolute;width:1px;height:1px;padding:0;overflow:hidden;
clip-path:inset(50%);white-space:nowrap}
.dcos-etcd .de-title{font-size:1.15em;font-weight:600;margin:0 0 .5em}
.dcos-etcd.dcos-etcd.dcos-etcd :is(tr,th,td){background:none;border:0}
.dcos-etcd.dcos-etcd.dcos-etcd :is(th,td){text-align:left;vertical-align:baseline;padding:.22em .8em .22em 0;
max-width:48em;white-space:pre-wrap;overflow-wrap:anywhere}
.dcos-etcd.dcos-etcd.dcos-etcd thead+tbody td{overflow-wrap:break-word}
.dcos-etcd.dcos-etcd.dcos-etcd thead+tbody td.de-open{overflow-wrap:anywhere;min-width:12em}
.dcos-etcd.dcos-etcd.dcos-etcd :is(thead+tbody tr,tbody tr+tr){border-top:1px solid
var(--jp-border-color2,var(--vscode-panel-border,var(--de-line)))}
.dcos-etcd.dcos-etcd.dcos-etcd td{font-family:var(--jp-code-font-family,ui-monospace,SFMono-Regular,Menlo,Consolas,
"DejaVu Sans Mono",monospace);font-size:.93em}
.dcos-etcd.dcos-etcd.dcos-etcd th{font-weight:500;white-space:nowrap;
color:var(--jp-content-font-color2,var(--vscode-descriptionForeground,var(--de-soft)))}
.dcos-etcd.dcos-etcd.dcos-etcd thead th{font-size:.8em;letter-spacing:.03em;vertical-align:bottom}
.dcos-etcd.dcos-etcd.dcos-etcd .de-r{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.dcos-etcd.dcos-etcd.dcos-etcd .de-bar{width:12em;min-width:6em;padding-right:0;vertical-align:middle}
.dcos-etcd .de-bar span{display:block;height:.7em;min-width:1px;border-radius:2px;
background:var(--jp-brand-color1,var(--vscode-charts-blue,var(--de-bar)))}
.dcos-etcd .de-remark{border-left:4px solid var(--de-tone);padding:.15em 0 .15em .8em;margin:0 0 1em;
overflow-wrap:anywhere}
.dcos-etcd .de-remark p{margin:0;white-space:pre-wrap}
.dcos-etcd.dcos-etcd.dcos-etcd .de-remark :is(th,td){padding-top:.1em;padding-bottom:.1em;font-family:inherit;
font-size:inherit}
.dcos-etcd.dcos-etcd.dcos-etcd .de-remark tr{border:0}
.dcos-etcd .de-verdict{display:inline-block;font-weight:600;border:1px solid var(--de-tone);border-radius:1em;
padding:0 .7em;background:color-mix(in srgb,var(--de-tone) 16%,transparent)}
.dcos-etcd .de-good{--de-tone:var(--jp-success-color1,var(--vscode-charts-green,var(--de-good)))}
.dcos-etcd .de-info{--de-tone:var(--jp-info-color1,var(--vscode-charts-blue,var(--de-info)))}
.dcos-etcd .de-warning{--de-tone:var(--jp-warn-color1,var(--vscode-charts-yellow,var(--de-warning)))}
.dcos-etcd .de-critical{--de-tone:var(--jp-error-color1,var(--vscode-charts-red,var(--de-critical)))}
.dcos-etcd ol{margin:.2em 0 1em;padding-left:2em}
"""

_PAGE_STYLE = """\
:root{color-scheme:light dark}
body{margin:0;background:#fff;color:#1f2328;
font-family:system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:84em;margin:0 auto;padding:2em 1.5em}
h1{font-size:1.5em;font-weight:600;margin:0 0 1em}
footer{color:#59636e;font-size:.85em;margin-top:2em}
@media(prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}footer{color:#9198a1}}
@media print{main{max-width:none;padding:0}}
"""

# Rows of a table in a fragment.
_MOST_ROWS = 50

# Whatever a name in a report might smuggle in, the page itself may load and run nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def fragment(sheet: Sheet) -> str:
    """Draw a sheet to stand in a page; of a long table only the beginning, for a notebook keeps what it shows."""
    return _section(sheet, f'<p class="de-title">{_escaped(sheet.title)}</p>', _MOST_ROWS)


def page(sheet: Sheet, *, made: str) -> str:
    """Draw a sheet as a page of its own; `made` says by whom and when."""
    title = _escaped(sheet.title)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{title}</title>\n<style>{_PAGE_STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n<h1>{title}</h1>\n{_section(sheet, '', None)}\n"
        f"<footer>{_escaped(made)}</footer>\n</main>\n</body>\n</html>\n"
    )


def _section(sheet: Sheet, title: str, most: int | None) -> str:
    blocks = "".join(_block(sheet.title, block, most) for block in sheet.blocks)
    warnings = "".join(_block("", Remark("warning", "warning", warning), most) for warning in sheet.warnings)
    label = _escaped(sheet.title)
    return f'<section class="dcos-etcd" aria-label="{label}"><style>{_STYLE}</style>{title}{blocks}{warnings}</section>'


def _block(title: str, block: Block, most: int | None) -> str:
    match block:
        case Fields(pairs, tone):
            return _wide(title, "", _pairs(pairs, tone), hidden=True)
        case Table():
            return _table(block, most)
        case Steps(heading, steps):
            return f"<p>{_escaped(heading)}</p><ol>{''.join(f'<li>{_escaped(step)}</li>' for step in steps)}</ol>"
        case Remark(tone, head, text, details):
            table = f"<table><tbody>{_pairs(details)}</tbody></table>" if details else ""
            return (
                f'<div class="de-remark de-{tone}" role="note"><p><strong>{_escaped(head)}</strong>: {_escaped(text)}'
                f"</p>{table}</div>"
            )


def _pairs(pairs: Iterable[tuple[str, str]], tone: str = "plain") -> str:
    listed = list(pairs)
    cells = [f"<td>{_escaped(value)}</td>" for _, value in listed]
    if listed and tone != "plain":
        cells[-1] = f'<td><span class="de-verdict de-{tone}">{_escaped(listed[-1][1])}</span></td>'
    rows = zip(listed, cells, strict=True)
    return "".join(f'<tr><th scope="row">{_escaped(name)}</th>{cell}</tr>' for (name, _), cell in rows)


def _table(table: Table, most: int | None) -> str:
    kinds = [' class="de-r"' if column in table.right else "" for column in table.columns]
    heads = "".join(
        f'<th scope="col"{kind}>{_escaped(column)}</th>' for column, kind in zip(table.columns, kinds, strict=True)
    )
    if not table.ruled:
        kinds[-1] = ' class="de-open"'
    bars = [_bar(share) for share in table.shares] or [""] * len(table.rows)
    rows = [
        f"<tr>{''.join(f'<td{kind}>{_escaped(cell)}</td>' for cell, kind in zip(row, kinds, strict=True))}{bar}</tr>"
        for row, bar in zip(table.rows[:most], bars[:most], strict=True)
    ]
    if more := len(table.rows) - len(rows):
        rows.append(f'<tr><td colspan="{len(table.columns)}">and {more} more</td></tr>')
    head = f"<thead><tr>{heads}{'<td></td>' * bool(table.shares)}</tr></thead>"
    return _wide(table.title or table.columns[-1], head, "".join(rows), hidden=not table.title)


def _bar(share: float) -> str:
    """Draw what the numbers beside it say already, for eyes alone."""
    return f'<td class="de-bar" aria-hidden="true"><span style="width:{share * 100:.1f}%"></span></td>'


def _wide(caption: str, head: str, rows: str, *, hidden: bool) -> str:
    """Let a table that is too wide be scrolled by itself, with the keyboard too; a hidden caption is for ears alone."""
    name = _escaped(caption)
    only_heard = ' class="de-heard"' if hidden else ""
    return (
        f'<div class="de-wide" role="region" tabindex="0" aria-label="{name}"><table>'
        f"<caption{only_heard}>{name}</caption>{head}<tbody>{rows}</tbody></table></div>"
    )


def _escaped(text: str) -> str:
    # Lone surrogates stand for bytes of a path that is no UTF-8; no page can hold them.
    spelled = re.sub("[\ud800-\udfff]", lambda found: f"\\x{ord(found[0]) & 0xFF:02x}", one_line(text))
    return escape(spelled)
