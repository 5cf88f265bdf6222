// The offer to continue the cell in the foreground in the background.

import { duration, STATES } from "./words.js";
import { button, icon, make, setAttribute, setText } from "./elements.js";

export class Offer {
  constructor(jobs, foreground, root, inCard = true) {
    this.jobs = jobs;
    this.foreground = foreground;
    this.inCard = inCard;
    this.text = make("span", "ipykill-offer-text");
    this.time = make("span", "ipykill-time");
    this.note = make("div", "ipykill-note");
    this.detach = button("Continue in background", "", () => this.jobs.ask("detach"));
    this.interrupt = button("Interrupt", "", () => this.kernel?.interrupt?.());
    const actions = make("div", "ipykill-actions", {}, this.detach, this.interrupt);
    const line = make("div", "ipykill-offer", { role: "group" }, icon(STATES.running[0]), this.text, this.time, actions, this.note);
    this.el = root.appendChild(line);
    this.changed();
  }

  get kernel() {
    return this.jobs.model.widget_manager?.kernel;
  }

  changed() {
    if (!this.inCard) this.foreground = this.jobs.foreground ?? null;
    this.el.hidden = !this.foreground || !["live", "lost"].includes(this.jobs.link);
    this.interrupt.hidden = !this.kernel?.interrupt;
    if (!this.foreground) return;
    const name = `cell [${this.foreground.cell}]`;
    setText(this.text, this.inCard ? "running" : `${name} runs in the foreground`);
    setAttribute(this.el, "aria-label", `${name} in the foreground`);
    this.tick();
  }

  tick() {
    if (!this.foreground) return;
    setText(this.time, duration(this.jobs.now() - this.foreground.since));
    const note = this.inCard ? (this.jobs.problem.get(null) ?? "") : "";
    setText(this.note, note);
    this.note.hidden = !note;
  }

  destroy() {}
}
