"""How the JupyterLab extension (`labextension/`) finds ipykill in a kernel, and gets its views.

The extension has to find out whether ipykill is loaded, without a message that other kernels do not
understand. So ipykill registers a comm that nobody opens. The answer to the standard
``comm_info_request`` lists it, and one message on it tells the open pages that ipykill has been
loaded. All other messages are requests on the control channel, as those of the views.

The kernel sends the scripts of the views, not the extension, because the server and the kernel may
be in different environments, with different versions of ipykill.
"""

from __future__ import annotations

import hashlib
from typing import Any

__all__ = ["FrontEnd", "welcome"]

_TARGET = "ipykill"


class FrontEnd:
    """By this comm front ends find ipykill in the kernel, until it is closed."""

    def __init__(self) -> None:
        from comm import create_comm, get_comm_manager

        self._comm = create_comm(target_name=_TARGET, primary=False)
        get_comm_manager().register_comm(self._comm)

    def announce(self) -> None:
        """Tell front ends that ipykill is loaded; they ask at once."""
        self._comm.send({_TARGET: "loaded"})

    def close(self) -> None:
        """Tell front ends that ipykill is not loaded any more."""
        self._comm.close({_TARGET: "unloaded"})


def welcome(model: str, script: str, style: str, known: list[str]) -> dict[str, Any]:
    """Return the answer to a page that wants to show the jobs.

    Parameters
    ----------
    model
        The id by which the page names the panel in its requests.
    script, style
        The script and the style sheet of the views.
    known
        The digests of the scripts that the page has already.
    """
    digest = hashlib.sha256(f"{script}\0{style}".encode()).hexdigest()
    views = {} if digest in known else {"script": script, "style": style}
    return {"model": model, "digest": digest, **views}
