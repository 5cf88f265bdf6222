"""What stands in a cell where no live view does.

That is the case in a saved notebook that is opened without its kernel, after the kernel was
restarted, on a page made by nbconvert, and in a front end without ipywidgets. Each view is
therefore two outputs: a text, and below it the widget. While the widget lives, the text is
hidden; where the front end has nothing but an error message in place of the widget, that is.
"""

from __future__ import annotations

import html
import time
from collections.abc import Sequence
from typing import Any

from ..core import render
from ..core.info import JobInfo

# An output without any element in it is the front end's own "Loading widget..." or "model
# not found". A browser that does not know :has() shows both outputs.
_STYLE = """<style>
.jp-OutputArea-child:has(.ipykill-static):has(+ .jp-OutputArea-child .ipykill) { display: none }
.jp-OutputArea-child:has(.ipykill-static) + .jp-OutputArea-child
> .jp-OutputArea-output:not(:has(*)) { display: none }
</style>"""

_SHOWN = 50  # jobs in the text of the panel


def sentence(info: JobInfo) -> str:
    """Return what stays true of a job when nobody updates it any more."""
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
    # JupyterLab shows the first line of the HTML, as it is written, for an output that is hidden.
    return {
        "text/plain": text,
        "text/html": f'{html.escape(first)}\n<div class="ipykill-static">{markup}</div>{_STYLE}',
    }
