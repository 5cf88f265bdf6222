// The titles of the columns; a click on one sorts the list.

import { button, make, setAttribute } from "./elements.js";

const TITLES = [
  ["name", "Job", 1],
  ["state", "State", 1],
  ["place", "Where", -1],
  ["time", "Time", -1],
  ["cpu", "CPU", -1],
  ["memory", "Memory", -1],
  ["rate", "Steps", -1],
];

export class Columns {
  constructor(sorted) {
    this.sort = null; // or {key, step}
    this.buttons = TITLES.map(([key, title, step]) => {
      const it = button(title, `Sort by ${title.toLowerCase()}`, () => {
        const now = this.sort?.key === key ? this.sort.step : 0;
        // The second click reverses the order, the third restores it: the newest first.
        this.sort = now === -step ? null : { key, step: now ? -step : step };
        this.draw();
        sorted();
      }, `ipykill-column ipykill-column-${key}`);
      it.dataset.key = key;
      return it;
    });
    const label = { role: "group", "aria-label": "Sort the jobs" };
    this.el = make("div", "ipykill-columns", label, ...this.buttons);
    this.draw();
  }

  draw() {
    for (const it of this.buttons) {
      const sorts = it.dataset.key === this.sort?.key;
      setAttribute(it, "aria-pressed", sorts);
      setAttribute(it, "data-step", sorts ? this.sort.step : null);
      it.title = sorts ? (this.sort.step > 0 ? "Ascending" : "Descending") : "Sort by this";
    }
  }
}
