"""What a front end makes of the messages of a kernel: outputs, cleared and replaced."""

from collections import defaultdict

from tests.kernel.messages import VIEW, is_card

Message = dict


class _Area:
    """The outputs below one cell, or in one widget `Output`."""

    def __init__(self) -> None:
        self.outputs: list[dict] = []
        self._clears = False

    def add(self, kind: str, content: dict) -> None:
        if kind == "clear_output":
            self._clears = content["wait"]
            if not content["wait"]:
                self.outputs.clear()
            return
        if self._clears:
            self.outputs.clear()
            self._clears = False
        last = self.outputs[-1] if self.outputs else {}
        if kind == "stream" and last.get("name") == content["name"]:
            last["text"] += content["text"]
        else:
            self.outputs.append(dict(content))

    def update(self, content: dict) -> None:
        for output in self.outputs:
            if _id(output) == _id(content):
                output["data"] = content["data"]

    def shown(self) -> list[str]:
        texts = []
        for output in self.outputs:
            if "data" not in output:
                texts.append(output.get("text") or output["ename"])
            elif is_card(output):  # the text of one is hidden where its widget lives
                texts.append("card" * (VIEW in output["data"]))
            else:
                texts.append("image" if "image/png" in output["data"] else _text(output))
        return [text for text in texts if text]  # what is empty is not seen


class Page:
    """A page on which nothing was cleared or run again by hand."""

    def __init__(self, messages: list[Message]) -> None:
        self._cells: defaultdict[str, _Area] = defaultdict(_Area)
        self._widgets: dict[str, _Area] = {}
        self._taken: defaultdict[str, list[_Area]] = defaultdict(list)  # by widgets, from cells
        for message in list(messages):
            content, kind = message["content"], message["msg_type"]
            if kind in ("comm_open", "comm_msg"):
                self._hear(content["comm_id"], content["data"].get("state", {}))
            elif kind in ("stream", "display_data", "execute_result", "error", "clear_output"):
                cell = message["parent_header"].get("msg_id", "")
                taken = self._taken[cell]
                (taken[-1] if taken else self._cells[cell]).add(kind, content)
            elif kind == "update_display_data":
                for area in self._cells.values():
                    area.update(content)

    def _hear(self, number: str, state: dict) -> None:
        if state.get("_model_name") == "OutputModel":
            self._widgets[number] = _Area()
        if number in self._widgets and "msg_id" in state:
            area = self._widgets[number]
            for areas in self._taken.values():
                if area in areas:
                    areas.remove(area)
            if state["msg_id"]:
                self._taken[state["msg_id"]].append(area)

    def below(self, cell: str) -> list[str]:
        """What is seen below a cell."""
        return self._cells[cell].shown()

    def in_widgets(self) -> list[list[str]]:
        """What is seen in each widget `Output`, in the order in which they were made."""
        return [area.shown() for area in self._widgets.values()]


def _id(content: dict) -> object:
    return content.get("transient", {}).get("display_id") or object()


def _text(output: dict) -> str:
    return output["data"].get("text/plain", "")
