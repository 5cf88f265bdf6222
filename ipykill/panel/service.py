"""Connects the jobs with their views: answers requests, and sends the views what changed."""

from __future__ import annotations

import json
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from ..base import locks
from ..core.job import Job
from ..core.manager import JobManager
from ..exceptions import JobError, UnknownJobError
from ..threads import ServiceThread
from .feed import Details, Feed
from .usage import Usage

_INTERVAL = 0.2  # seconds between two messages, at least
_LOAD = 0.1  # the share of one processor that looking at the jobs may take
_RATE = 200_000  # bytes a second, a fifth of what the server lets pass
# Seconds to wait for the effect of a Stop or a Kill before the request is answered. Then the answer
# already tells the effect. Code looks for a Stop when it likes; a Kill takes a few milliseconds,
# or 70 if a library computes on all processors.
_STOP_PATIENCE = 0.05
_KILL_PATIENCE = 0.2
_LEASE = 900.0  # seconds without a message after which a page counts as closed
_TEXT_INTERVAL = 30.0  # seconds between two updates of the text that is saved
_A_WHILE = 1.0  # seconds after which the panel shows a running cell
_WHOLE = 200  # rows; if there are no more, all are sent when the last job has ended

_logger = logging.getLogger("ipykill")


def detach(manager: JobManager) -> dict[str, Any]:
    """Detach the cell in the foreground; return the answer to a view: an error, or nothing."""
    try:
        manager.detach()
    except JobError as error:
        return {"error": str(error)}
    return {}


class Channel(Protocol):
    """Sends messages to all views; any thread may call both methods."""

    def send(self, content: dict[str, Any]) -> None:
        """Send a message to all views."""

    def send_whole(self) -> None:
        """Send `Service.whole` to all views, as the state that front ends save."""


class Service:
    """Answers the views of one kernel. A view that is open *watches*: it says so repeatedly.

    While a view is open, the refresh thread looks at the jobs and sends what changed: one message
    every `_INTERVAL` at most, fewer when there is much to send. When all views are closed, or
    were not heard of for `_LEASE` seconds, the thread ends. Later it runs only when a job has
    ended, and sends the whole state, which a front end saves in the notebook. Updates of saved
    texts (`say`) take turns with these messages, so that they are not sent more often.

    The requests of a view, dictionaries with a key ``do``, are the cases in `_answer`.

    Attributes
    ----------
    tell
        Updates the text that is saved with the notebook; the refresh thread calls it when the
        state of a job has changed, at most every `_TEXT_INTERVAL`.

    Threading
    ---------
    Any thread may call any method: requests come on the kernel's control thread, the main
    thread or a subshell's. `_lock` guards everything and is held while a message is sent, so
    that messages leave in the order of their revisions. It is reentrant because sending the
    whole state calls `whole`.
    """

    def __init__(self, manager: JobManager) -> None:
        self._manager = manager
        self._channel: Channel | None = None
        self._lock = locks.RLock()
        self._feed = Feed(manager)
        self._details = Details()
        self._pages: dict[str, tuple[float, set[int]]] = {}
        self._thread: ServiceThread | None = None
        self._unsaved = False  # whether the state that front ends save lacks the end of some job
        self._ended = False  # whether a job has ended that no view was told of
        self._texts: deque[Callable[[], None]] = deque()
        self._done: deque[str] = deque(maxlen=100)  # ids of requests that must not be done twice
        self.tell: Callable[[], None] = lambda: None
        self._next_tell = 0.0
        self._foreground: dict[str, Any] | None = None
        self._usage = Usage()
        self._panels: set[str] = set()  # pages in which a panel is open
        self._states: dict[int, str] | None = {}

    def connect(self, channel: Channel) -> None:
        """Send messages through `channel` from now on."""
        self._channel = channel

    @property
    def refreshing(self) -> bool:
        """Whether the refresh thread runs."""
        with self._lock:
            return self._thread is not None

    def whole(self) -> dict[str, Any]:
        """Return the rows of all jobs: the present ones, or those that open views know."""
        with self._lock:
            if not self._open_pages():
                # Not if a view is open: it would miss the changes that this look finds.
                self._feed.refresh()
                self._unsaved = self._unsaved or self._feed.live
            return self._feed.full()

    def end(self) -> None:
        """Note that a job has ended, so that its end is saved even if no view is open."""
        with self._lock:
            if not self._open_pages():
                self._ended = True
                self._start()

    def say(self, text: Callable[[], None]) -> None:
        """Call `text`, which sends one message, when its turn comes."""
        with self._lock:
            self._texts.append(text)
            self._start()

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what a view asks, and return the answer; never raises."""
        try:
            return self._answer(request)
        except UnknownJobError:
            return {"error": f"job {request.get('id')} is not in the list any more"}
        except Exception as error:
            _logger.exception("the panel's request %r failed", request)
            return {"error": f"{type(error).__name__}: {error}"}

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        match request.get("do"):
            case "watch":
                return self._watch(request)
            case "leave":
                with self._lock:
                    self._pages.pop(str(request["page"]), None)
                return {}
            case "details":
                return self._show(str(request["page"]), self._job(request))
            case "stop":
                job = self._job(request)
                job.stop(_STOP_PATIENCE)
                return self._row(job)
            case "interrupt":
                job = self._job(request)
                if not self._was_done(request):
                    job.interrupt(_STOP_PATIENCE)
                return self._row(job)
            case "kill":
                job = self._job(request)
                job.kill(_KILL_PATIENCE)
                return self._row(job)
            case "detach":
                return detach(self._manager)
            case "traceback":
                failure = self._job(request).failure
                return {"text": "" if failure is None else failure.traceback or failure.line}
            case "again" if self._was_done(request):
                pass
            case "again":
                return self._run_again(self._job(request))
            case "stop_all" | "kill_all" | "clear" if self._was_done(request):
                pass
            case "stop_all":
                for job in self._meant(request):
                    if not job.done():
                        job.stop()
            case "kill_all":
                if "ids" in request:
                    self._manager.kill(self._meant(request))
                else:
                    self._manager.kill_all()
            case "clear":
                if "ids" in request:
                    self._manager.clear(it for it in self._meant(request) if not it.lives())
                else:
                    self._manager.clear()
            case unknown:
                return {"error": f"the panel does not know how to {unknown!r}"}
        return {}

    def _run_again(self, job: Job) -> dict[str, Any]:
        if job.again is None or not job.done():
            return {"error": "only a cell of %%bg that is over can run again"}
        try:
            new = job.again()
        except JobError as error:
            return {"error": str(error)}
        return {"again": new.id}

    def _meant(self, request: dict[str, Any]) -> list[Job]:
        """Return the jobs that a request is about: those that a filter shows, or all."""
        ids = request.get("ids")
        return [job for job in self._manager if ids is None or job.id in ids]

    def _job(self, request: dict[str, Any]) -> Job:
        """Return the job with the id in the request, never one with a name like that."""
        number = request.get("id")
        if type(number) is not int:
            msg = f"{number!r} is not the id of a job"
            raise ValueError(msg)
        return self._manager[number]

    def _was_done(self, request: dict[str, Any]) -> bool:
        """Note a request; return whether it has come before, on the other channel.

        A view that gets no answer on the control channel asks again on the shell channel. If a
        busy kernel gets both in the end, the second must not end a job that was launched after
        the first.
        """
        message = request.get("message")
        with self._lock:
            if message is None or message in self._done:
                return message is not None
            self._done.append(message)
            return False

    def _row(self, job: Job) -> dict[str, Any]:
        with self._lock:
            return {"row": self._feed.look(job), "now": time.time()}

    def _watch(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            known = request.get("rev") == self._feed.revision
            reply: dict[str, Any] = {} if known else {"state": self.whole()}
            self._foreground = self._look_at_foreground()
            if self._foreground is not None:
                reply["foreground"] = self._foreground
            open_details = {int(number) for number in request.get("details", ())}
            self._pages[str(request["page"])] = (time.monotonic() + _LEASE, open_details)
            if request.get("usage"):
                if not self._measuring():
                    self._usage.forget()
                self._panels.add(str(request["page"]))
                reply["usage"] = self._usage.full()
            else:
                self._panels.discard(str(request["page"]))
            self._start()
            return reply

    def _measuring(self) -> bool:
        """Whether a panel is open, and not only a card or the status bar."""
        self._panels &= self._open_pages().keys()
        return bool(self._panels)

    def _show(self, page: str, job: Job) -> dict[str, Any]:
        with self._lock:
            if page in self._pages:
                self._pages[page][1].add(job.id)
            return {"details": self._details.full(job)}

    # The refresh thread

    def _start(self) -> None:
        if self._thread is None:
            thread = self._thread = ServiceThread(self._run, "panel")
            try:
                thread.start()
            except RuntimeError as error:  # the system has no thread left
                self._thread = None
                _logger.error("the panel cannot be refreshed now: %s", error)

    def _run(self) -> None:
        text: Callable[[], None] | None = None
        trouble = ""
        while True:
            begin = time.thread_time()  # CPU time: on a busy machine no longer wait is needed
            size = 0
            try:
                with self._lock:
                    watched = bool(self._open_pages())
                    told = not watched and not self._ended
                    if told and not self._texts:
                        self._thread = None
                        return
                    text = self._texts.popleft() if self._texts and (told or not text) else None
                    if text is None:
                        self._ended = False
                        size = self._send_changes() if watched else self._send_end()
                if text is not None:
                    text()
            except Exception as error:
                if trouble != (trouble := repr(error)):  # so as not to log it five times a second
                    _logger.exception("the panel could not be refreshed")
            else:
                trouble = ""
            spent = time.thread_time() - begin
            time.sleep(max(_INTERVAL, spent / _LOAD, size / _RATE))

    def _open_pages(self) -> dict[str, tuple[float, set[int]]]:
        now = time.monotonic()
        for page, (end, _) in self._pages.copy().items():
            if end < now:
                del self._pages[page]
        return self._pages

    def _send_end(self) -> int:
        """Send all rows though no view is open; return about how many bytes."""
        if self._channel is None:
            return 0
        self._channel.send_whole()
        return len(json.dumps(self._feed.full()))

    def _send_changes(self) -> int:
        """Send what changed, if anything did; return about how many bytes."""
        changes = self._feed.refresh()
        details = self._changed_details()
        live = self._feed.live
        self._unsaved = self._unsaved or live
        if self._channel is None:
            return 0
        self._renew_text()
        if self._unsaved and not (live or details) and len(self._feed) <= _WHOLE:
            # So that a front end saves the end of the jobs in the notebook. Even without a change
            # of rows: a job may be over a moment after its row has said so.
            self._unsaved = False
            self._channel.send_whole()
            return 0
        message = (changes or {}) | ({"details": details} if details else {})
        if self._measuring() and (usage := self._usage.refresh(self._manager)):
            message["usage"] = usage
        if (foreground := self._look_at_foreground()) != self._foreground:
            message["foreground"] = self._foreground = foreground
        if not message:
            return 0
        self._channel.send(message)
        return len(json.dumps(message))

    def _look_at_foreground(self) -> dict[str, Any] | None:
        """Return the cell in the foreground and since when it runs, if it has run for a while."""
        foreground = self._manager.foreground
        runs = None if foreground is None else foreground.runs()
        if runs is None or time.time() - runs[1] < _A_WHILE:
            return None
        return {"cell": runs[0], "since": round(runs[1], 1)}

    def told(self) -> None:
        """Note that the saved text is up to date, so that `tell` need not be called soon."""
        with self._lock:
            self._states = None
            self._next_tell = time.monotonic() + _TEXT_INTERVAL

    def _renew_text(self) -> None:
        states = self._feed.states
        if self._states is None:
            self._states = states
        elif self._states != states and time.monotonic() >= self._next_tell:
            self._states = states
            self._next_tell = time.monotonic() + _TEXT_INTERVAL
            self._texts.append(self.tell)

    def _changed_details(self) -> dict[int, Any]:
        shown = set().union(*(ids for _, ids in self._pages.values()))
        self._details.keep(shown)
        found = {}
        for number in shown:
            if number not in self._manager:
                continue
            if changes := self._details.refresh(self._manager[number]):
                found[number] = changes
        return found
