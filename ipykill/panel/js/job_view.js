// One job: its row or card.

import { count, duration, isOver, STATES, titleOf } from "./words.js";
import { button, icon, make, setAttribute, setText } from "./elements.js";
import { drawError, drawLog, drawProcesses, drawSource, drawStacks } from "./details.js";

// ms for which a first click on Kill waits for the second, wherever the keyboard's focus is: the
// front end may move that by itself, as Notebook does after a cell started.
export const ARMED = 3_000;
const OVERDUE = 3; // seconds after which a Stop that has no effect is overdue
const PENDING_KILL = 1; // seconds after which a Kill that has no effect is explained
export const NOT_ANSWERED = "The kernel has not answered yet; it may be in C code that lets nothing else run.";

export class JobView {
  constructor(jobs, row, inCard = false) {
    this.jobs = jobs;
    this.id = row.id;
    this.known = row;
    this.inCard = inCard;
    this.tab = null; // of the details, null while they are closed

    this.icon = make("span", "ipykill-icon");
    this.name = make("span", "ipykill-name");
    this.number = make("span");
    this.cell = make("span", "ipykill-cell");
    this.state = make("span", "ipykill-state");
    this.time = make("span", "ipykill-time");
    this.cpu = make("span", "ipykill-cpu");
    this.place = make("span", "ipykill-place");
    this.last = make("span", "ipykill-last");
    this.note = make("div", "ipykill-note");
    this.log = button("Log", "", () => this.toggleDetails(), "ipykill-log-button");
    this.stop = button("Stop", "", () => this.jobs.ask("stop", this.job), "ipykill-stop");
    this.interrupt = button("■", "", () => this.jobs.ask("interrupt", this.job), "ipykill-interrupt");
    this.kill = button("Kill", "", () => this.clickKill(), "ipykill-kill");
    this.bar = make("div", "ipykill-bar", {}, make("div"));
    this.barText = make("span", "ipykill-bar-text");
    this.progress = make("div", "ipykill-progress", {}, this.bar, this.barText);
    this.el = make(
      inCard ? "div" : "li",
      "ipykill-job",
      inCard ? { role: "group" } : {},
      this.icon,
      make("div", "ipykill-title", {}, this.name, make("span", "ipykill-meta", {}, this.number, this.cell)),
      this.state,
      this.time,
      make("div", "ipykill-actions", {}, this.log, this.stop, this.interrupt, this.kill),
      make("div", "ipykill-now", {}, this.place, this.last, this.cpu),
      this.progress,
      this.note,
    );
    for (const it of ["pointermove", "focusin"]) {
      if (inCard) this.el.addEventListener(it, () => this.jobs.seen.add(this.id));
    }
    this.el.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      if (this.armed) this.disarm();
      else if (this.tab) this.toggleDetails();
    });
    this.draw();
  }

  // What was last known of it: a card outlives its job's place in the list.
  get job() {
    this.known = this.jobs.rows.get(this.id) ?? this.known;
    return this.known;
  }

  get over() {
    return isOver(this.job) || ["saved", "restarted"].includes(this.jobs.link);
  }

  // What a job that is over has left behind, as far as that is known.
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
    const since = job.detached && new Date(job.detached * 1000).toLocaleTimeString();
    const where = since && this.inCard ? `, in the background since ${since}` : "";
    setText(this.cell, job.cell ? ` · cell [${job.cell}]${where}` : "");
    setText(this.state, job.state);
    setText(this.place, this.whereText(job));
    setText(this.last, this.lastText(job));
    this.drawProgress(job);
    this.drawActions(job, title);
    this.tick();
    if (this.tab) this.drawDetails();
  }

  whereText(job) {
    if (job.state === "failed") return job.error ?? "";
    if (job.state === "skipped") return job.reason ?? "";
    if (job.state === "pending") {
      return job.reason ?? (job.waits ? `waiting for ${job.waits}` : this.jobs.rows.has(this.id) ? "waiting for its turn" : "");
    }
    const place = job.place ?? "";
    const why = job.reason ? ` (${job.reason})` : "";
    return (isOver(job) && place ? `at ${place}` : place) + why;
  }

  lastText(job) {
    // The whole output stands below a card, and ends in the error or in how the job ended.
    return isOver(job) && (this.inCard || job.state !== "done") ? "" : (job.last ?? "");
  }

  drawProgress(job) {
    const progress = job.progress;
    this.progress.hidden = !progress;
    if (!progress) return;
    const done = progress.total ? Math.min(progress.done / progress.total, 1) : null;
    this.bar.hidden = done === null && isOver(job);
    this.bar.classList.toggle("ipykill-endless", done === null);
    this.bar.firstChild.style.width = done === null ? "" : `${done * 100}%`;
    setAttribute(this.bar, "role", "progressbar");
    setAttribute(this.bar, "aria-label", `Progress of ${titleOf(job)}`);
    setAttribute(this.bar, "aria-valuenow", done === null ? null : Math.round(done * 100));
    const words = [progress.description];
    if (done !== null) words.push(`${Math.floor(done * 100)} %`);
    words.push(progress.total ? `${progress.done} of ${progress.total}` : String(progress.done));
    if (progress.left && !isOver(job)) words.push(`${duration(progress.left)} left`);
    setText(this.barText, words.filter(Boolean).join(" · "));
  }

  drawActions(job, title) {
    const over = this.over;
    // A button that vanishes takes the keyboard's place in the page with it.
    const buttons = [this.stop, this.interrupt, this.kill];
    const focused = buttons.find((it) => it === document.activeElement);
    this.stop.hidden = over;
    this.interrupt.hidden = over || !["running", "stopping"].includes(job.state);
    this.kill.hidden = over && !this.remains;
    this.log.hidden = this.gone || (!this.jobs.live && !this.jobs.details.has(this.id));
    if (focused?.hidden) this.log.focus();
    setAttribute(this.log, "aria-label", `Log of ${title}`);
    setAttribute(this.log, "aria-expanded", this.tab !== null);
    setAttribute(this.stop, "aria-label", `Stop ${title}`);
    setAttribute(this.interrupt, "aria-label", `Interrupt ${title}`);
    setAttribute(this.kill, "aria-label", `Kill ${title}`);
    const overdue = this.stopOverdue(job);
    this.el.classList.toggle("ipykill-overdue", overdue);
    this.kill.title = isOver(job)
      ? "End the threads and processes that it left, after a second click"
      : overdue
        ? "End the code now; its finally: blocks run"
        : "End the code wherever it is, after a second click; its finally: blocks run";
    this.stop.title = "Ask the code to finish";
    this.interrupt.title = "Raise KeyboardInterrupt in the code once, as ■ does in a cell";
  }

  stopOverdue(job) {
    return job.state === "stopping" && this.jobs.now() - job.asked >= OVERDUE;
  }

  // What changes by the clock alone.
  tick() {
    const job = this.job;
    const started = job.started !== undefined;
    setText(this.time, started ? duration(this.jobs.elapsed(job), isOver(job)) : "");
    const cpu = started && job.cpu ? `CPU ${duration(job.cpu, true)}` : "";
    const left = isOver(job) ? " left" : "";
    const threads = job.threads ? count(job.threads, "thread") + left : "";
    setText(this.cpu, [threads, cpu].filter(Boolean).join(" · "));
    const note = this.noteText(job);
    if (this.note.textContent !== note) {
      this.note.textContent = note;
      this.note.hidden = !note;
      this.drawActions(job, titleOf(job));
    }
  }

  noteText(job) {
    const { link, problem, silent } = this.jobs;
    if (job.state === "gone") return "The kernel was restarted; this job ended with it.";
    if (isOver(job)) return problem.get(job.id) ?? (this.gone ? "" : (job.note ?? ""));
    const moment = new Date(this.jobs.asOf * 1000).toLocaleString();
    if (link === "saved") return this.inCard ? `No kernel; this was true on ${moment}.` : "";
    if (link === "lost") return this.inCard ? `No answer from the kernel since ${moment}.` : "";
    if (problem.has(job.id)) return problem.get(job.id);
    if (silent.has(job.id)) return NOT_ANSWERED;
    const asked = this.jobs.now() - (job.asked ?? Infinity);
    if (this.stopOverdue(job)) {
      return `Stop asked ${duration(asked)} ago; the code has not looked yet. Kill does not ask.`;
    }
    if (job.state === "killing" && asked >= PENDING_KILL) {
      const why = job.hindrance ? `: ${job.hindrance}` : "";
      return `Kill pending for ${duration(asked)}${why}. Only a restart of the kernel is stronger.`;
    }
    if (job.hindrance && job.state !== "killing") return job.hindrance;
    return job.note ?? "";
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
    if (this.tab) this.jobs.hideDetails(this.id);
  }

  // Details

  toggleDetails() {
    if (this.tab) {
      this.tab = null;
      this.jobs.hideDetails(this.id);
      if (this.box.contains(document.activeElement)) this.log.focus();
      this.box.remove();
    } else {
      this.openDetails(this.job.state === "failed" ? "Error" : "Log");
    }
    setAttribute(this.log, "aria-expanded", this.tab !== null);
  }

  // The job is not in the list any more.
  part() {
    this.gone = true;
    if (this.tab) this.toggleDetails();
    this.draw();
  }

  openDetails(tab) {
    this.tab = tab;
    this.opened = performance.now();
    this.tabs = make("div", "ipykill-tabs", { role: "tablist" });
    this.pane = make("div", "ipykill-pane", { role: "tabpanel", tabindex: "0" });
    this.copy = button("Copy", "", () => this.copyPane(), "ipykill-copy");
    const head = make("div", "ipykill-details-head", {}, this.tabs, this.copy);
    this.box = make("div", "ipykill-details", {}, head, this.pane);
    this.tabs.addEventListener("keydown", (event) => this.moveTab(event));
    this.el.append(this.box);
    this.shown = null;
    this.jobs.showDetails(this.id).then(() => this.tab && this.drawDetails());
    this.drawDetails();
  }

  moveTab(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const names = [...this.tabs.children].map((it) => it.textContent);
    this.tab = names[(names.indexOf(this.tab) + step + names.length) % names.length];
    this.drawDetails();
    this.tabs.querySelector("[aria-selected=true]").focus();
    event.preventDefault();
  }

  drawDetails() {
    const job = this.job;
    const details = this.jobs.details.get(this.id);
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
    const draw = {
      Log: drawLog,
      Stack: drawStacks,
      Processes: drawProcesses,
      Source: drawSource,
      Error: drawError,
    };
    const atEnd = this.pane.scrollHeight - this.pane.scrollTop - this.pane.clientHeight < 8;
    const turned = this.shown !== this.tab;
    this.shown = this.tab;
    this.pane.dataset.tab = this.tab;
    // A selection that is being made in the text must not be lost to the next line.
    const selection = getSelection();
    if (!turned && !selection.isCollapsed && this.pane.contains(selection.anchorNode)) return;
    draw[this.tab](this.pane, details, job);
    if (this.tab === "Log" && (atEnd || turned)) this.pane.scrollTop = this.pane.scrollHeight;
    else if (turned) this.pane.scrollTop = 0;
  }

  makeTab(name) {
    const tab = make("button", "ipykill-tab", { type: "button", role: "tab" }, name);
    tab.addEventListener("click", () => {
      this.tab = name;
      this.drawDetails();
    });
    return tab;
  }

  async copyPane() {
    let copied = true;
    try {
      await navigator.clipboard.writeText(this.pane.textContent);
    } catch {
      getSelection().selectAllChildren(this.pane); // then Ctrl-C does it
      copied = false;
    }
    setText(this.copy, copied ? "Copied" : "Selected");
    setTimeout(() => setText(this.copy, "Copy"), 1500);
  }
}
