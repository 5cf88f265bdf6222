// The titles of the columns; a click on one sorts the list.

import { button, make, setAttribute } from "./elements.js";
import { KEYS } from "./order.js";

const TITLES = [
  ["name", "Job", 1],
  ["state", "State", 1],
  ["place", "Where", -1],
  ["time", "Time", -1],
  ["cpu", "CPU", -1],
  ["memory", "Memory", -1],
  ["rate", "Steps", -1],
];

// What the columns of row.css take at least, in em of 13 px: without those of memory and steps, and these.
const LEAST = 58.4;
const MORE = { memory: 4.1, rate: 4 };

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

  // Columns in which every row is empty take no space; if the others have not enough, rows are stacked.
  // A column that is there stays, so that no button moves away each time when a process has ended.
  fit(root, width, jobs) {
    let least = LEAST;
    for (const [key, more] of Object.entries(MORE)) {
      const name = `ipykill-has-${key}`;
      const stays = jobs.rows.size > 0 && root.classList.contains(name);
      const has = stays || [...jobs.rows.values()].some((job) => KEYS[key](job, jobs));
      root.classList.toggle(name, has);
      if (has) least += more;
    }
    root.classList.toggle("ipykill-stacked", width < least * parseFloat(getComputedStyle(root).fontSize));
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
