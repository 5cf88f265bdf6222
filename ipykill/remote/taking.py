"""Here: what is sent to a job that runs elsewhere, and what is taken over at its end.

Copies of the variables that the code needs are sent. Those that it has assigned come back, and
those that it has changed in place, or else an hour of ``model.fit(X, y)`` would be lost. A
variable that it has not changed stays the same object here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import CodeType
from typing import Any

from ..core.job import Job
from ..exceptions import JobError, JobStopped
from . import needs
from .parcel import Parcel, Surroundings, culprits, pack, require, unpack
from .report import End

__all__ = ["CallLuggage", "CellLuggage", "Luggage"]

_NOTHING = object()


class _RemoteTraceback(Exception):
    """The traceback of an error elsewhere, as the cause of the error here."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class Luggage:
    """The base class of what is sent for a cell and for a function."""

    def __init__(self, namespace: dict[str, Any]) -> None:
        require()
        self.around = Surroundings(namespace)

    def pack(self) -> Parcel:
        """Return what is sent.

        Raises
        ------
        JobError
            Something cannot be sent; it is named.
        """
        raise NotImplementedError

    def take(self, end: End, parcel: Parcel, job: Job) -> BaseException | None:
        """Take over what came back; return the error that the code raised, or None."""
        try:
            names, self._value, error = unpack(parcel, self.around)
        except Exception as failure:
            msg = f"what it left cannot be read here: {type(failure).__name__}: {failure}"
            raise JobError(msg) from failure
        self.place(names, end, job)
        if end.left:
            stays = ", ".join(f"{name} ({kind})" for name, kind in end.left)
            job.host.line(f"[{job.id}] stays behind, as it cannot be sent: {stays}")
        failed: BaseException | None = error
        return failed

    def place(self, names: dict[str, Any], end: End, job: Job) -> None:
        """Put variables that came back into the namespace."""

    def end_as(self, end: End, parcel: Parcel, error: BaseException | None) -> object:
        """End as the code ended there: return its value, or raise its error."""
        if end.state == "done":
            if end.value_stays:
                msg = f"its value ({end.value_stays}) cannot be sent"
                raise JobError(msg)
            return self._value
        if end.state == "stopped" and error is None:
            raise KeyboardInterrupt if end.reason == "interrupted" else JobStopped
        if error is None:
            msg = f"it ended there, {end.state}"
            raise JobError(msg)
        if end.lines:
            lines = list(end.lines)
            error._render_traceback_ = lambda: lines  # type: ignore[attr-defined]
            raise error from _RemoteTraceback("\n".join(lines))
        raise error


class CallLuggage(Luggage):
    """A function with its arguments; its value comes back."""

    def __init__(self, call: Callable[[], object]) -> None:
        import __main__

        super().__init__(vars(__main__))
        self._call: Callable[[], object] | None = call

    def pack(self) -> Parcel:
        """Return the function and its arguments."""
        try:
            parcel = pack((self._call, None, None), self.around)
        except Exception as error:
            msg = f"not started, as it cannot be sent: {type(error).__name__}: {error}"
            raise JobError(msg) from error
        self._call = None
        return parcel


class CellLuggage(Luggage):
    """A cell, with the variables that it needs.

    Parameters
    ----------
    namespace
        The variables of the notebook.
    parts
        The parts of the `Cell`.
    hidden
        The variables that IPython has put into the namespace; the other side has its own.
    variable
        The name of the variable that gets the cell's value.
    """

    def __init__(
        self,
        namespace: dict[str, Any],
        parts: Sequence[tuple[CodeType, bool]],
        hidden: dict[str, Any],
        variable: str | None,
    ) -> None:
        super().__init__(namespace)
        self._parts = tuple(parts)
        self._hidden = hidden
        self._variable = variable
        self._were: dict[str, Any] = {}

    def pack(self) -> Parcel:
        """Return the cell, its variables, and the names of those that are to come back."""
        namespace = self.around.namespace
        codes = [code for code, _ in self._parts]
        names = {
            name: namespace[name]
            for name in sorted(needs.needed(codes, namespace))
            if self._hidden.get(name, _NOTHING) is not namespace[name]
        }
        wanted = needs.assigned(codes, namespace)
        self._were = {name: namespace.get(name, _NOTHING) for name in wanted | names.keys()}
        try:
            return pack((self._parts, names, wanted), self.around)
        except Exception as error:
            bad = culprits(names, self.around)
            if not bad:
                msg = f"not started, as the cell cannot be sent: {error}"
                raise JobError(msg) from error
            listed = "; ".join(
                f"{name} ({type(names[name]).__name__}): {why}" for name, why in bad.items()
            )
            msg = f"not started: {listed}; what cannot be sent has to be made in the cell"
            raise JobError(msg) from error

    def place(self, names: dict[str, Any], end: End, job: Job) -> None:
        """Put back the variables that it assigned, and those that it changed in place.

        The latter only if nothing else was assigned to them here meanwhile.
        """
        namespace = self.around.namespace
        kept = []
        for name, thing in names.items():
            before = self._were.get(name, _NOTHING)
            moved = namespace.get(name, _NOTHING) is not before
            if moved and name in end.changed:
                kept.append(name)
            else:
                namespace[name] = thing
                if moved and before is not thing:
                    what = f"{name} was assigned here meanwhile; it is now what the job left"
                    job.host.line(f"[{job.id}] {what}")
        if kept:
            listed = ", ".join(kept)
            job.host.line(
                f"[{job.id}] not replaced, for they were assigned here meanwhile: {listed}"
            )
        if self._variable is not None and end.state == "done" and not end.value_stays:
            namespace[self._variable] = self._value
        self._were.clear()
