// The tabs below a job: which there are, which one is open, and the button that copies it.

import { titleOf } from "./words.js";
import { button, make, setAttribute, setText } from "./elements.js";
import { drawError, drawLog, drawProcesses, drawSource, drawStacks } from "./details.js";

const DRAW = {
  Log: drawLog,
  Stack: drawStacks,
  Processes: drawProcesses,
  Source: drawSource,
  Error: drawError,
};

export class Details {
  constructor(view, tab) {
    this.view = view;
    this.tab = tab;
    this.opened = performance.now();
    this.tabs = make("div", "ipykill-tabs", { role: "tablist" });
    this.pane = make("div", "ipykill-pane", { role: "tabpanel", tabindex: "0" });
    this.copy = button("Copy", "", () => this.copyPane(), "ipykill-copy");
    const head = make("div", "ipykill-details-head", {}, this.tabs, this.copy);
    this.el = make("div", "ipykill-details", {}, head, this.pane);
    this.tabs.addEventListener("keydown", (event) => this.moveTab(event));
    this.shown = null;
  }

  moveTab(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const names = [...this.tabs.children].map((it) => it.textContent);
    this.tab = names[(names.indexOf(this.tab) + step + names.length) % names.length];
    this.draw();
    this.tabs.querySelector("[aria-selected=true]").focus();
    event.preventDefault();
  }

  draw() {
    const { job, jobs } = this.view;
    const details = jobs.details.get(job.id);
    const names = ["Log"];
    if (details?.threads?.length) names.push("Stack");
    if (details?.processes?.length) names.push("Processes");
    if (details?.source) names.push("Source");
    if (details?.error) names.push("Error");
    const loading = details === undefined;
    if (!names.includes(this.tab) && !loading) this.tab = "Log";
    const wanted = loading ? [this.tab] : names;
    if ([...this.tabs.children].map((it) => it.textContent).join() !== wanted.join()) {
      const focused = this.tabs.contains(document.activeElement);
      this.tabs.replaceChildren(...wanted.map((name) => this.makeTab(name)));
      if (focused) this.tabs.children[wanted.indexOf(this.tab)].focus();
    }
    for (const it of this.tabs.children) {
      const selected = it.textContent === this.tab;
      setAttribute(it, "aria-selected", selected);
      setAttribute(it, "tabindex", selected ? 0 : -1);
    }
    setAttribute(this.pane, "aria-label", `${this.tab} of ${titleOf(job)}`);
    setAttribute(this.copy, "aria-label", `Copy ${this.tab.toLowerCase()} of ${titleOf(job)}`);
    if (loading) return;
    const atEnd = this.pane.scrollHeight - this.pane.scrollTop - this.pane.clientHeight < 8;
    const turned = this.shown !== this.tab;
    this.shown = this.tab;
    this.pane.dataset.tab = this.tab;
    // New text must not destroy a selection that the user is making.
    const selection = getSelection();
    if (!turned && !selection.isCollapsed && this.pane.contains(selection.anchorNode)) return;
    DRAW[this.tab](this.pane, details, job);
    if (this.tab === "Log" && (atEnd || turned)) this.pane.scrollTop = this.pane.scrollHeight;
    else if (turned) this.pane.scrollTop = 0;
  }

  makeTab(name) {
    const tab = make("button", "ipykill-tab", { type: "button", role: "tab" }, name);
    tab.addEventListener("click", () => {
      this.tab = name;
      this.draw();
    });
    return tab;
  }

  async copyPane() {
    let copied = true;
    try {
      await navigator.clipboard.writeText(this.pane.textContent);
    } catch {
      getSelection().selectAllChildren(this.pane); // so that Ctrl-C copies it
      copied = false;
    }
    setText(this.copy, copied ? "Copied" : "Selected");
    setTimeout(() => setText(this.copy, "Copy"), 1500);
  }
}
