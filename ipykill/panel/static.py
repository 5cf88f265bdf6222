"""The text that a cell shows where no live view can be.

That is so in a saved notebook that is opened without its kernel, after the kernel was restarted,
on a page made by nbconvert, and in a front end without ipywidgets. Therefore each view is two
outputs: a text, and below it the widget. If the widget is alive, the text is hidden; if the front
end shows only an error message instead of the widget, that message is hidden.
"""

from __future__ import annotations

import html
import time
from collections.abc import Sequence
from typing import Any

from ..core import render
from ..core.info import JobInfo

# An output without any element in it is the front end's own "Loading widget..." or "model
# not found". A browser without :has() shows both outputs.
_STYLE = """<style>
.jp-OutputArea-child:has(.ipykill-static):has(+ .jp-OutputArea-child .ipykill) { display: none }
.jp-OutputArea-child:has(.ipykill-static) + .jp-OutputArea-child
> .jp-OutputArea-output:not(:has(*)) { display: none }
</style>"""

_SHOWN = 50  # how many jobs the text of the panel lists


def sentence(info: JobInfo) -> str:
    """Return a sentence about a job that stays true even if it is never updated."""
    if info.state.final:
        return render.sentence(info._replace(size=0))
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(info.created))
    return f"[{info.id}] {render.one_line(info.name, 60)}: launched {moment}"


def job(info: JobInfo) -> dict[str, Any]:
    """Return the text of a job's card, as a MIME bundle."""
    return _bundle(sentence(info), sentence(info))


def panel(infos: Sequence[JobInfo]) -> dict[str, Any]:
    """Return the text of the panel, as a MIME bundle."""
    newest = infos[-_SHOWN:][::-1]
    moment = time.strftime("%Y-%m-%d %H:%M:%S")
    earlier = len(infos) - len(newest)
    caption = f"Background jobs at {moment}" + (f", without {earlier} earlier ones" * bool(earlier))
    return _bundle(f"{caption}\n{render.table_text(newest)}", caption, render.table_html(newest))


def _bundle(text: str, first: str, markup: str = "") -> dict[str, Any]:
    # For a collapsed output, JupyterLab shows the first line of the HTML as plain text.
    return {
        "text/plain": text,
        "text/html": f'{html.escape(first)}\n<div class="ipykill-static">{markup}</div>{_STYLE}',
    }
