// The keyboard: arrow keys move from row to row, and letters press buttons.

import { FOLD, isGroup } from "./order.js";
import { make, setText } from "./elements.js";

const HELP = [
  ["↑ ↓", "go from job to job"],
  ["Enter", "open or close the log"],
  ["s", "stop"],
  ["k k", "kill"],
  ["/", "filter"],
  ["Esc", "close, take back"],
  ["?", "show or hide this"],
  ["Tab", "go to the other buttons"],
];

const MARK = "data-lm-suppress-shortcuts";
const BUTTONS = { s: "stop", k: "kill" };

export function makeHelp() {
  // No list of terms: front ends have a style of their own for those in outputs.
  const lines = HELP.map(([key, what]) => make("div", "", {}, make("kbd", "", {}, key), what));
  const help = make("div", "ipykill-help", { role: "group", "aria-label": "List of keys" }, ...lines);
  help.hidden = true;
  return help;
}

// Keeps JupyterLab's shortcuts of plain keys, such as D D for "delete the cell", from what is pressed
// here; those with Ctrl, Cmd or Alt work as elsewhere. Lumino sees a key before the panel does, and asks
// the element that has the focus first, so that the attribute has to be there and not on the root.
export function keepKeys(root) {
  let marked = null;
  const mark = (event) => {
    const { target, key } = event;
    marked?.removeAttribute(MARK); // it may be around the next one
    if (!root.contains(target)) return;
    marked = target;
    const modified = event.ctrlKey || event.metaKey || event.altKey;
    const leaves = modified || key === "Escape" || (key === "Enter" && event.shiftKey);
    target.toggleAttribute(MARK, target.matches("input") || !leaves);
  };
  addEventListener("keydown", mark, true);
  return () => removeEventListener("keydown", mark, true);
}

// Handles keys that are pressed anywhere in the panel.
export function pressInPanel(panel, event) {
  const typing = event.target.matches("input");
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape" && !panel.help.hidden) panel.toggleHelp();
  else if (event.key === "Escape" && typing) panel.focusRow(panel.order[0]);
  else if (event.key === "ArrowDown" && !panel.list.contains(event.target)) panel.focusRow(panel.order[0]);
  else if (event.key === "/" && !typing) {
    panel.search.hidden = false;
    panel.search.focus();
  } else if (event.key === "?" && !typing) panel.toggleHelp();
  else return;
  event.preventDefault();
}

// Handles keys in the list. Up and Down move to the next row, from a button to the same button there.
export function pressInList(panel, event) {
  const row = event.target.closest("li");
  if (!row || event.ctrlKey || event.metaKey || event.altKey) return;
  const onRow = event.target === row;
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const view = panel.views.get(Number(row.dataset.job));
  if (step && (onRow || event.target.matches(".ipykill-actions > button, .ipykill-fold"))) {
    const next = panel.order[panel.order.indexOf(panel.itemOf(row)) + step];
    if (next !== undefined) panel.focusRow(next, onRow ? null : event.target);
  } else if (view && onRow && event.key === "Enter") view.toggleDetails();
  else if (view && BUTTONS[event.key] && !event.target.closest(".ipykill-details")) {
    const button = view[BUTTONS[event.key]];
    if (!button.hidden && !event.repeat) button.click();
  } else return;
  event.preventDefault();
}

// Focuses a row: its button of the same kind as `like`, or the row itself.
export function focusItem(panel, item, like) {
  const node = panel.node(item);
  const target = item === FOLD || isGroup(item)
    ? node?.querySelector("button")
    : like && !like.matches(".ipykill-fold")
      ? sameButton(node, like)
      : node;
  target?.focus({ preventScroll: true });
}

function sameButton(node, like) {
  const kind = ["ipykill-stop", "ipykill-kill", "ipykill-again", "ipykill-dismiss"].find((it) => like.classList.contains(it));
  return (
    (kind && node?.querySelector(`.${kind}:not([hidden])`)) ||
    node?.querySelector(".ipykill-log-button:not([hidden])") ||
    node
  );
}

// The line above jobs of the same name.
export class Group {
  constructor(toggle) {
    this.button = make("button", "ipykill-button ipykill-fold", { type: "button" });
    this.button.addEventListener("click", toggle);
    this.el = make("li", "ipykill-fold-row ipykill-group", {}, this.button);
  }

  draw({ name, members, open }) {
    const counts = {};
    for (const { state } of members) counts[state] = (counts[state] ?? 0) + 1;
    const states = Object.entries(counts).map(([state, n]) => `${n} ${state}`);
    setText(this.button, `${open ? "▾" : "▸"} ${name}  ·  ${members.length} jobs: ${states.join(", ")}`);
    this.button.setAttribute("aria-expanded", open);
  }
}
