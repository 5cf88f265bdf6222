"""Objects as bytes, on their way to the process where a job runs, and back.

`cloudpickle` pickles them; it sends functions and classes of the notebook by value. In three
points this module does something else:

- `cloudpickle` 3.1.2 and newer drops the file name of code, which a traceback needs. So code
  objects are sent as `marshal` writes them; both sides have the same version of Python.
- It would give functions that come back a namespace of their own. Here, functions of the
  notebook's namespace get that namespace back, and bring none of its variables along.
- It would set all attributes of a class anew when the class, or an object of it, comes back.
  Here, a class that was sent comes back as the same class object.
"""

from __future__ import annotations

import functools
import io
import marshal
import pickle
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import CodeType, FunctionType
from typing import Any, NamedTuple

from ..exceptions import JobError

__all__ = ["Parcel", "Surroundings", "culprits", "pack", "unpack"]

BIG = 1 << 20  # bytes; a buffer of that size is sent beside the pickle, not in it


class Parcel(NamedTuple):
    """A pickle, and the large buffers that are sent beside it."""

    data: Any
    buffers: list[Any]

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return sum(memoryview(it).nbytes for it in (self.data, *self.buffers))


class Surroundings:
    """The objects that a pickle refers to and that exist on both sides.

    Attributes
    ----------
    namespace
        The variables of the notebook, or of the job that runs elsewhere.
    classes
        The classes of the notebook that were sent, by the ids that `cloudpickle` has given
        them.
    home
        Whether the objects to be packed go back to the process that the classes came from.
    files
        The names of the files of the code that was packed.
    """

    def __init__(self, namespace: dict[str, Any], *, home: bool = False) -> None:
        self.namespace = namespace
        self.classes: dict[str, type] = {}
        self.files: set[str] = set()
        self.home = home

    def meet(self, numbers: Iterable[str]) -> None:
        """Note the classes with these ids, which have just arrived."""
        table = _tracker()._DYNAMIC_CLASS_TRACKER_BY_ID
        self.classes |= {number: table[number] for number in numbers if number in table}


def pack(thing: object, around: Surroundings) -> Parcel:
    """Return `thing` as bytes."""
    buffers: list[Any] = []

    def keep_inside(buffer: pickle.PickleBuffer) -> bool:
        try:
            raw = buffer.raw()
        except BufferError:  # it is not contiguous
            return True
        if raw.nbytes < BIG:
            return True
        buffers.append(raw)
        return False

    stream = io.BytesIO()
    _pickler()(stream, keep_inside, around).dump(thing)
    return Parcel(stream.getbuffer(), buffers)


def unpack(parcel: Parcel, around: Surroundings) -> Any:
    """Return the object that was packed."""
    before = vars(_arrival).get("around")
    _arrival.around = around
    try:
        return pickle.loads(parcel.data, buffers=parcel.buffers)
    finally:
        _arrival.around = before


def culprits(things: Mapping[str, object], around: Surroundings) -> dict[str, Exception]:
    """Return which of `things` cannot be packed, each with its error."""
    bad: dict[str, Exception] = {}
    for name, thing in things.items():
        try:
            pack(thing, around)
        except Exception as error:
            bad[name] = error
    return bad


def require() -> None:
    """Raise `JobError` if cloudpickle is not installed."""
    try:
        import cloudpickle  # noqa: F401
    except ImportError:
        msg = "a job elsewhere needs cloudpickle: pip install cloudpickle"
        raise JobError(msg) from None


_arrival = threading.local()


def _namespace() -> dict[str, Any]:
    """Return the namespace on the side that unpacks; pickles refer to this function instead."""
    namespace: dict[str, Any] = _arrival.around.namespace
    return namespace


def _class(number: str) -> type:
    """Return a class that the unpacking side had sent; pickles refer to this function instead."""
    found: type = _arrival.around.classes[number]
    return found


class _Namespace(dict[str, Any]):
    def __reduce__(self) -> tuple[Callable[[], dict[str, Any]], tuple[()]]:
        return _namespace, ()


def _files(code: CodeType) -> Iterator[str]:
    yield code.co_filename
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _files(constant)


def _tracker() -> Any:
    from cloudpickle import cloudpickle

    return cloudpickle


@functools.cache
def _pickler() -> Any:
    import cloudpickle

    class Pickler(cloudpickle.Pickler):
        def __init__(self, stream: Any, keep_inside: Any, around: Surroundings) -> None:
            super().__init__(stream, protocol=5, buffer_callback=keep_inside)
            self._around = around
            self._numbers = (
                {kind: number for number, kind in around.classes.items()} if around.home else {}
            )
            # Must not be empty, or cloudpickle writes into it.
            self.globals_ref[id(around.namespace)] = _Namespace(__name__="__main__")

        def reducer_override(self, obj: Any) -> Any:
            if type(obj) is CodeType:
                self._around.files.update(_files(obj))
                return marshal.loads, (marshal.dumps(obj),)
            is_class = isinstance(obj, type)
            if is_class and obj in self._numbers:
                return _class, (self._numbers[obj],)
            how = super().reducer_override(obj)
            if is_class and isinstance(how, tuple) and not self._around.home:
                number = _tracker()._DYNAMIC_CLASS_TRACKER_BY_CLASS.get(obj)
                if number is not None:
                    self._around.classes[number] = obj
            elif (
                isinstance(obj, FunctionType)
                and isinstance(how, tuple)
                and self._around.home
                and obj.__globals__ is self._around.namespace
            ):
                how[2][1]["__globals__"] = {}
            return how

    return Pickler
