// Draws one job, as a row of the panel or as a card.

import { clock, count, duration, isOver, memory, moment, rate, STATES, titleOf } from "./words.js";
import { button, icon, make, setAttribute, setText } from "./elements.js";
import { KEYS } from "./order.js";
import { ProgressBars } from "./bars.js";
import { Details } from "./details_view.js";

// ms for which a first click on Kill waits for the second one, even if the focus moves: the front end
// may move it by itself, as Notebook does after a cell has started.
export const ARMED = 3_000;
const OVERDUE = 3; // seconds after which a Stop that has no effect is overdue
const PENDING_KILL = 1; // seconds after which a Kill that has no effect is explained
export const NOT_ANSWERED = "The kernel has not answered yet; it may be in C code that lets nothing else run.";
const ONCE = "Run again is for what %%bg launched; submit() keeps no arguments, so call it again.";
const BY_CELL = "It began in the foreground: run its cell again.";
const MISSED = "The text below this cell ends where the page was closed; the log has the rest.";

export class JobView {
  constructor(jobs, row, inCard = false) {
    this.jobs = jobs;
    this.id = row.id;
    this.known = row;
    this.inCard = inCard;
    this.details = null; // null while they are closed
    this.missed = false; // whether this page has missed some of its output

    this.icon = make("span", "ipykill-icon");
    this.name = make("span", "ipykill-name");
    this.number = make("span");
    this.cell = make("span", "ipykill-cell");
    this.state = make("span", "ipykill-state");
    this.time = make("span", "ipykill-time");
    this.cpu = make("span", "ipykill-cpu");
    this.memory = make("span", "ipykill-memory");
    this.rate = make("span", "ipykill-rate");
    this.place = make("span", "ipykill-place");
    this.last = make("span", "ipykill-last");
    this.note = make("div", "ipykill-note");
    this.log = button("Log", "", () => this.toggleDetails(), "ipykill-log-button");
    this.stop = button("Stop", "", () => this.jobs.ask("stop", this.job), "ipykill-stop");
    this.interrupt = button("■", "", () => this.jobs.ask("interrupt", this.job), "ipykill-interrupt");
    this.kill = button("Kill", "", () => this.clickKill(), "ipykill-kill");
    this.copyError = button("Copy traceback", "", () => this.copyTraceback(), "ipykill-copy-error");
    this.again = button("Run again", "", () => this.jobs.ask("again", this.job), "ipykill-again");
    this.dismiss = button("×", "", () => this.jobs.ask("clear", null, { ids: [this.id] }), "ipykill-dismiss");
    this.bars = new ProgressBars();
    this.actions = make("div", "ipykill-actions", {},
      this.again, this.log, this.stop, this.interrupt, this.kill);
    this.el = make(
      inCard ? "div" : "li",
      "ipykill-job",
      inCard ? { role: "group" } : { tabindex: "-1" },
      this.icon,
      make("div", "ipykill-title", {}, this.name, make("span", "ipykill-meta", {}, this.number, this.cell)),
      this.state,
      make("div", "ipykill-now", {}, this.place, this.last, this.cpu, this.copyError),
      this.bars.el,
      this.time,
    );
    if (!inCard) {
      this.el.append(this.memory, this.rate);
      this.actions.append(this.dismiss);
    }
    this.el.append(this.actions, this.note);
    for (const it of ["pointermove", "focusin"]) {
      if (inCard) this.el.addEventListener(it, () => this.jobs.seen.add(this.id));
    }
    this.el.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      if (this.armed) this.disarm();
      else if (this.details) this.toggleDetails();
    });
    this.draw();
  }

  // The last known row of the job: a card stays when its job is cleared from the list.
  get job() {
    this.known = this.jobs.rows.get(this.id) ?? this.known;
    return this.known;
  }

  get over() {
    return isOver(this.job) || ["saved", "restarted"].includes(this.jobs.link);
  }

  // Whether a finished job has left threads or processes running, as far as that is known.
  get remains() {
    const { threads = [], processes = [] } = this.jobs.details.get(this.id) ?? {};
    return this.jobs.live && (threads.length > 0 || processes.some((it) => it.running));
  }

  draw() {
    const job = this.job;
    if (this.el.dataset.state !== job.state) {
      this.el.dataset.state = job.state;
      this.icon.replaceChildren(icon(STATES[job.state]?.[0] ?? ""));
      if (isOver(job)) this.disarm();
    }
    const title = titleOf(job);
    setAttribute(this.el, "aria-label", title);
    setText(this.name, job.name);
    setText(this.number, `job ${job.id}`);
    const since = job.detached && clock(job.detached);
    const where = since && this.inCard ? `, in the background since ${since}` : "";
    setText(this.cell, job.cell ? ` · cell [${job.cell}]${where}` : "");
    setAttribute(this.name.parentNode, "title", `${job.name}\njob ${job.id}${job.cell ? `, cell [${job.cell}]` : ""}`);
    setText(this.state, job.state);
    const place = this.whereText(job);
    const last = this.lastText(job);
    setText(this.place, place);
    setText(this.last, last);
    setAttribute(this.place, "title", place || null);
    setAttribute(this.last, "title", last || null);
    const began = job.started && `started ${moment(job.started)}`;
    setAttribute(this.time, "title", began || null);
    this.bars.draw(job);
    this.drawActions(job, title);
    this.tick();
    this.details?.draw();
  }

  whereText(job) {
    if (job.state === "failed") return this.inCard ? (job.error ?? "") : (job.place ? `at ${job.place}` : "");
    if (job.state === "skipped") return job.reason ?? "";
    if (job.state === "pending") {
      return job.reason ?? (job.waits ? `waiting for ${job.waits}` : this.jobs.rows.has(this.id) ? "waiting for its turn" : "");
    }
    const place = job.place ?? "";
    const why = job.reason ? ` (${job.reason})` : "";
    if (job.state === "done" && !this.inCard) return job.last ?? "";
    return (isOver(job) && place ? `at ${place}` : place) + why;
  }

  // The text of the second line; if it is empty, a row is one line high.
  lastText(job) {
    if (!this.inCard && job.state === "failed") return job.error ?? "";
    // Below a card stands the whole output, whose end says how the job ended.
    return isOver(job) && (this.inCard || !job.progress || job.state !== "done") ? "" : (job.last ?? "");
  }

  drawActions(job, title) {
    const over = this.over;
    // A button that is hidden loses the focus, which then goes to the Log button.
    const buttons = [this.stop, this.interrupt, this.kill, this.again];
    const focused = buttons.find((it) => it === document.activeElement);
    const asks = this.jobs.live && !this.gone;
    this.stop.hidden = over || job.state === "killing";
    this.interrupt.hidden = over || !["running", "stopping"].includes(job.state);
    this.kill.hidden = over && !this.remains;
    this.log.hidden = this.gone || (!this.jobs.live && !this.jobs.details.has(this.id));
    this.copyError.hidden = !asks || job.state !== "failed" || !job.error;
    this.again.hidden = !asks || !job.again;
    const ended = ["failed", "stopped", "killed"].includes(job.state) && asks;
    setAttribute(this.state, "title", ended && !job.again ? (job.cell ? BY_CELL : ONCE) : null);
    this.dismiss.hidden = !asks || !isOver(job) || job.state === "gone" || Boolean(this.remains);
    if (focused?.hidden) this.log.focus();
    setAttribute(this.log, "aria-expanded", this.details !== null);
    const names = [
      [this.log, "Log of"], [this.stop, "Stop"], [this.interrupt, "Interrupt"], [this.kill, "Kill"],
      [this.copyError, "Copy traceback of"], [this.again, "Run again"], [this.dismiss, "Dismiss"],
    ];
    for (const [it, words] of names) setAttribute(it, "aria-label", `${words} ${title}`);
    const overdue = this.stopOverdue(job);
    this.el.classList.toggle("ipykill-overdue", overdue);
    this.kill.title = isOver(job)
      ? "End the threads and processes that it left, after a second click"
      : overdue
        ? "End the code now; its finally: blocks run"
        : "End the code wherever it is, after a second click; its finally: blocks run";
    this.stop.title = "Ask the code to finish";
    this.interrupt.title = "Raise KeyboardInterrupt in the code once, as ■ does in a cell";
    this.again.title = "Launch the same text with the same options";
    this.dismiss.title = "Take it off the list, and forget its log and its value";
  }

  stopOverdue(job) {
    return job.state === "stopping" && this.jobs.now() - job.asked >= OVERDUE;
  }

  // Redraws what changes with time, without news from the kernel.
  tick() {
    const job = this.job;
    const started = job.started !== undefined;
    setText(this.time, started ? duration(this.jobs.elapsed(job), isOver(job)) : "");
    this.drawUsage(job, started);
    const note = this.noteText(job);
    if (this.note.textContent !== note) {
      this.note.textContent = note;
      this.drawActions(job, titleOf(job));
    }
    this.note.hidden = !note;
  }

  drawUsage(job, started) {
    const cpu = started && job.cpu ? `CPU ${duration(job.cpu, true)}` : "";
    const left = isOver(job) ? " left" : "";
    const threads = job.threads ? count(job.threads, "thread") + left : "";
    const words = [threads, cpu].filter(Boolean).join(" · ");
    if (this.inCard) {
      setText(this.cpu, words);
      return;
    }
    const [percent, bytes] = this.jobs.usage.get(this.id) ?? [0, 0];
    const runs = started && !isOver(job) && this.jobs.live;
    setText(this.cpu, runs || percent ? `${percent} %` : "");
    this.cpu.classList.toggle("ipykill-idle", !percent);
    setAttribute(this.cpu, "title", words ? `${words} in all` : null);
    setText(this.memory, bytes ? memory(bytes) : "");
    setAttribute(this.memory, "title", bytes ? "Resident memory of its processes" : null);
    const steps = KEYS.rate(job);
    setText(this.rate, steps ? rate(steps) : "");
  }

  noteText(job) {
    const { link, problem, silent } = this.jobs;
    if (job.state === "gone") return this.inCard ? "The kernel was restarted; this job ended with it." : "";
    if (isOver(job)) return problem.get(job.id) ?? (this.gone ? "" : (job.note ?? (this.missed ? MISSED : "")));
    const then = moment(this.jobs.asOf);
    if (link === "saved") return this.inCard ? `No kernel; this was true on ${then}.` : "";
    if (link === "lost") return this.inCard ? `No answer from the kernel since ${then}.` : "";
    if (problem.has(job.id)) return problem.get(job.id);
    if (silent.has(job.id)) return NOT_ANSWERED;
    const asked = this.jobs.now() - (job.asked ?? Infinity);
    if (this.stopOverdue(job)) {
      return `Stop asked ${duration(asked)} ago; the code has not looked yet. Use Kill to end it now.`;
    }
    if (job.state === "killing" && asked >= PENDING_KILL) {
      const why = job.hindrance ? `: ${job.hindrance}` : "";
      return `Kill pending for ${duration(asked)}${why}. Only a restart of the kernel is stronger.`;
    }
    if (job.hindrance && job.state !== "killing") return job.hindrance;
    return job.note ?? (this.missed ? MISSED : "");
  }

  clickKill() {
    const job = this.job;
    if (this.armed || this.stopOverdue(job) || job.state === "killing") {
      this.disarm();
      this.jobs.ask("kill", job);
      return;
    }
    this.armed = setTimeout(() => this.disarm(), ARMED);
    this.kill.classList.add("ipykill-armed");
    setText(this.kill, "Kill?");
    this.jobs.announce(`Press again to kill ${titleOf(job)}`);
  }

  disarm() {
    if (!this.armed) return;
    clearTimeout(this.armed);
    this.armed = null;
    this.kill.classList.remove("ipykill-armed");
    setText(this.kill, "Kill");
  }

  destroy() {
    this.disarm();
    if (this.details) this.jobs.hideDetails(this.id);
  }

  async copyTraceback() {
    const reply = await this.jobs.request({ do: "traceback", id: this.id });
    try {
      await navigator.clipboard.writeText(reply.text);
      setText(this.copyError, "Copied");
      setTimeout(() => setText(this.copyError, "Copy traceback"), 1500);
    } catch {
      if (!this.details) this.openDetails("Error"); // so that the user can select it there
    }
  }

  get tab() {
    return this.details?.tab ?? null;
  }

  get opened() {
    return this.details?.opened ?? 0;
  }

  toggleDetails() {
    if (this.details) {
      const box = this.details.el;
      this.details = null;
      this.jobs.hideDetails(this.id);
      if (box.contains(document.activeElement)) this.log.focus();
      box.remove();
    } else {
      this.openDetails(this.job.state === "failed" ? "Error" : "Log");
    }
    setAttribute(this.log, "aria-expanded", this.details !== null);
  }

  // Called when the job is not in the list any more.
  part() {
    this.gone = true;
    if (this.details) this.toggleDetails();
    this.draw();
  }

  openDetails(tab) {
    this.details = new Details(this, tab);
    this.el.append(this.details.el);
    this.jobs.showDetails(this.id).then(() => this.details?.draw());
    this.details.draw();
  }
}
