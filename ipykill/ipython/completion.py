"""Tab completion on the line of a magic, of options and jobs, and of attributes of jobs."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from IPython.core.completer import SimpleCompletion, context_matcher
from IPython.core.magic import Magics
from IPython.utils.generics import complete_object

from ..core.current import current_job
from ..core.facts import FOR_USERS
from ..core.job import Job
from ..core.log import JobLog
from ..core.manager import JobManager

__all__ = ["Completion", "offer_what_users_need"]

# The end of a line such as ``jobs[3].st`` or ``ipykill.submit(f).st``.
_JOB = re.compile(
    r"(?P<name>[^\W\d]\w*(?:\.\w+)*)"
    r"(?:(?P<key>\[[^\[\]]*\])|\((?:[^()]|\([^()]*\))*\))\.(?P<part>\w*)$"
)


def offer_what_users_need() -> None:
    """Let IPython complete attributes of our objects from their ``dir()``, not from their class."""
    for kind in (Job, JobManager, JobLog):
        complete_object.register(kind, lambda it, found: dir(it))


class Completion:
    """A matcher for IPython's completer; `magics` are those whose lines it completes."""

    def __init__(self, magics: Magics, manager: JobManager) -> None:
        self._magics = magics
        self._shell: Any = magics.shell
        self._manager = manager

    @context_matcher(identifier="ipykill")
    def complete(self, context: Any) -> dict[str, Any]:
        """Return the completions of the last word on a line with one of the magics.

        If there are any, the completions of other matchers, above all Python's names, are left out.
        """
        if (of_job := self._attributes(context.text_until_cursor)) is not None:
            return of_job
        *words, last = re.split(r"\s+", context.text_until_cursor.lstrip())
        command, *before = words or [""]
        automagic = self._shell.magics_manager.auto_magic and command not in self._shell.user_ns
        if automagic and not command.startswith("%"):
            command = f"%{command}"
        known = command in ("%%bg", *(f"%{name}" for name in self._magics.magics["line"]))
        found = self._candidates(command, before, last) if known else []
        return {
            "completions": [SimpleCompletion(it) for it in found if it.startswith(context.token)],
            "suppress": True,
            "ordered": True,
        }

    def _attributes(self, text: str) -> dict[str, Any] | None:
        """Return the attributes for users of the job that ``jobs[3]`` or ``submit(f)`` stands for.

        Jedi does not evaluate such an expression, and would offer all attributes of the class.
        """
        found = _JOB.search(text)
        if found is None or self._named(found["name"]) not in (
            (self._manager,) if found["key"] else (self._manager.submit, current_job)
        ):
            return None
        names = [name for name in sorted(FOR_USERS) if name.startswith(found["part"])]
        return {
            "completions": [SimpleCompletion(name) for name in names],
            "matched_fragment": found["part"],
            "suppress": True,
        }

    def _named(self, name: str) -> object:
        """Return the value of a dotted name; takes attributes only of the package and the manager.

        So no property of the user's is run.
        """
        first, *rest = name.split(".")
        value = self._shell.user_ns.get(first)
        for attribute in rest:
            known = value is self._manager or getattr(value, "__name__", "") == "ipykill"
            value = getattr(value, attribute, None) if known else None
        return value

    def _clients(self) -> list[str]:
        """Return the variables that hold a client of Dask."""
        distributed: Any = sys.modules.get("distributed")
        kind = getattr(distributed, "Client", ())
        found = dict(self._shell.user_ns).items()
        return [name for name, it in found if isinstance(it, kind) and not name.startswith("_")]

    def _candidates(self, command: str, before: Sequence[str], last: str) -> list[str]:
        """Return the options or SPECs that may stand in place of the word `last`."""
        actions = getattr(self._magics, command.lstrip("%")).parser._actions
        options = {option: action for action in actions for option in action.option_strings}
        taker = None  # the option whose value the last word is
        for word in before:
            if word in options:
                taker = word if options[word].nargs != 0 else None
            elif command == "%bg" and taker is None:
                return []  # the last word belongs to the statement
            elif taker is not None and (command == "%bg" or options[taker].nargs is None):
                taker = None
        if taker == "--on":
            return ["process", *self._clients()]
        if taker not in (None, "--after"):
            return []  # a file, a number, a name
        takes_specs = taker is not None or any(action.dest == "specs" for action in actions)
        if last.startswith("-") or not takes_specs:
            return [] if command == "%bg" and not last else list(options)
        over = command in ("%bglog", "%bgclear")
        found = [job for job in self._manager if over or not job.done()]
        # A name that has to be quoted is harder to type than the job's id.
        names = [job.name for job in found if job.name == shlex.quote(job.name)]
        return [*dict.fromkeys(names), *(str(job.id) for job in found), "all"]
