"""What the JupyterLab extension (`labextension/`) asks of a kernel.

It has to find out whether ipykill is loaded, without a message that another kernel does not
understand. So ipykill registers a comm that nobody opens: it is in the answer to the standard
``comm_info_request``, and one message of it says to the pages that are open that it is there. All
else goes the way of the views' requests, on the control channel.

The scripts of the views come from here and not from the extension, for the server and the kernel
may have ipykill from two environments, in two versions.
"""

from __future__ import annotations

import hashlib
from typing import Any

__all__ = ["FrontEnd", "welcome"]

_TARGET = "ipykill"


class FrontEnd:
    """Says that ipykill is loaded, until it is closed."""

    def __init__(self) -> None:
        from comm import create_comm, get_comm_manager

        self._comm = create_comm(target_name=_TARGET, primary=False)
        get_comm_manager().register_comm(self._comm)
        self._comm.send({_TARGET: "loaded"})

    def close(self) -> None:
        """Say that it is not loaded any more."""
        self._comm.close({_TARGET: "unloaded"})


def welcome(model: str, script: str, style: str, known: list[str]) -> dict[str, Any]:
    """Return the answer to a page that wants to show the jobs.

    Parameters
    ----------
    model
        What the page calls the panel in its requests.
    script, style
        Of the views.
    known
        The digests of those that the page already has.
    """
    digest = hashlib.sha256(f"{script}\0{style}".encode()).hexdigest()
    views = {} if digest in known else {"script": script, "style": style}
    return {"model": model, "digest": digest, **views}
