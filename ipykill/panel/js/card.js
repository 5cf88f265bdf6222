// The card of one job, below its cell.

import { isOver } from "./words.js";
import { JobView } from "./job_view.js";

export class Card {
  constructor(jobs, row, root) {
    this.jobs = jobs;
    this.root = root;
    this.id = row.id;
    this.listed = jobs.rows.has(row.id);
    this.view = new JobView(jobs, row, true);
    this.view.missed = row.shown < jobs.given && !isOver(row);
    this.view.tick();
    root.append(this.view.el);
  }

  changed(ids) {
    if (ids && !ids.includes(this.id)) return;
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      const was = this.listed;
      this.listed = this.jobs.rows.has(this.id);
      if (this.listed || !was) this.view.draw();
      else if (isOver(this.view.job)) this.view.part();
      else this.root.remove(); // how it ended stands in the text above the card
    });
  }

  tick() {
    this.view.tick();
  }

  destroy() {
    cancelAnimationFrame(this.frame);
    this.view.destroy();
  }
}
