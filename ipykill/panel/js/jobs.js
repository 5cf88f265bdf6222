// Keeps what the kernel has told of all jobs, and asks the kernel to do things.

import { count, isOver, titleOf } from "./words.js";
import { make } from "./elements.js";
import { Channel } from "./channel.js";

const HEARTBEAT = 15_000; // ms between two messages that say a view is open,
const BUSY_HEARTBEAT = 300_000; // and the same while the kernel runs a cell
const SLOW = 1_000; // ms after which the user is told that an answer is missing
const EARLY = 50; // how many changes of details wait for the beginning
const LOG_LINES = 2_000; // how many lines of a log a page keeps

export class Jobs extends Channel {
  constructor(model) {
    super(model);
    this.rows = new Map(); // id -> job, oldest first
    this.details = new Map(); // id -> {source, error, threads, processes, log: {start, lines}}
    this.asOf = 0; // when the last message of the kernel was sent, by the kernel's clock, in seconds
    this.heard = 0; // and when it came, by performance.now(), in ms
    this.problem = new Map(); // id -> why a request about the job failed; null -> about all
    this.silent = new Set(); // ids, null for all: the kernel has not answered a request
    this.views = new Set();
    this.usage = new Map(); // id -> [CPU in per cent, bytes], while a panel is open
    this.given = model.get("given"); // when this page got the model, by the kernel's clock
    this.watched = new Map(); // id -> how many views show its details
    this.early = new Map(); // id -> changes of details whose beginning has not come yet
    this.fetching = new Set(); // ids whose details have been requested
    this.seen = new Set(); // ids of jobs that were on the screen while the user was active there
    this.revision = -1;
    this.newest = -1;
    this.takeWhole(model.get("jobs"));
    model.on("change:jobs", () => this.takeWhole(model.get("jobs")));
    model.on("msg:custom", (message) => this.receive(message));
    this.ready = this.connect();
  }

  async connect() {
    // anywidget passes a proxy; only the model itself knows whether its comm is live.
    const whole = await this.model.widget_manager?.get_model?.(this.id)?.catch(() => null);
    if (!whole) return;
    const update = () => {
      if (whole.comm_live) return;
      this.setLink(this.link === "live" && whole.ipykillWasLive ? "restarted" : "saved");
    };
    whole.ipykillWasLive ||= whole.comm_live;
    whole.on("comm_live_update", update);
    if (!whole.comm_live) this.setLink("saved");
  }

  setLink(link) {
    if (this.link === link || this.link === "restarted") return;
    if (link === "restarted") {
      for (const [id, job] of this.rows) {
        if (isOver(job)) continue;
        this.rows.set(id, { ...job, state: "gone", elapsed: this.elapsed(job) });
      }
    }
    this.link = link;
    if (link === "restarted") this.announce("The kernel was restarted; its jobs ended with it");
    if (link === "lost") this.announce("The kernel does not answer");
    this.notify(null);
  }

  get live() {
    return this.link === "live";
  }

  // The time by the kernel's clock, in seconds; it stands still while the kernel is not connected.
  now() {
    return this.asOf + (this.live ? (performance.now() - this.heard) / 1000 : 0);
  }

  elapsed(job) {
    return job.elapsed ?? (job.started ? this.now() - job.started : 0);
  }

  takeWhole(state) {
    if (!state || state.rev === undefined || state.rev < this.revision) return;
    const before = this.rows;
    this.rows = new Map(state.rows.map((row) => [row.id, row]));
    this.took(state);
    this.announceChanges(before);
    this.notify(null);
  }

  receive(message) {
    if (message.to !== undefined) {
      this.waiting.get(message.to)?.(message.reply);
      return;
    }
    if (message.rev !== undefined) this.takeChanges(message);
    this.takeUsage(message.usage);
    if ("foreground" in message) this.takeForeground(message.foreground);
    for (const [id, details] of Object.entries(message.details ?? {})) {
      this.takeDetails(Number(id), details);
    }
  }

  takeChanges(message) {
    if (message.rev <= this.revision) return;
    if (message.base !== this.revision) {
      this.newest = message.rev; // a message is missing
      this.watch();
      return;
    }
    const before = new Map();
    for (const [key, changes] of Object.entries(message.rows)) {
      const id = Number(key);
      const old = this.rows.get(id);
      before.set(id, old);
      this.put(id, changes.id ? changes : { ...old, ...changes }, message.now);
    }
    const gone = message.gone.filter((id) => this.rows.delete(id));
    for (const id of gone) this.details.delete(id);
    this.took(message);
    this.announceChanges(before);
    this.notify(gone.length ? null : [...before.keys()]);
  }

  put(id, row, now) {
    const old = this.rows.get(id);
    if (old && old.heard > now) return; // the answer to a click has overtaken this
    for (const key of Object.keys(row)) if (row[key] === null) delete row[key];
    this.rows.set(id, row);
  }

  took(message) {
    this.revision = message.rev;
    this.hear(message.now);
  }

  hear(now) {
    this.asOf = now;
    this.heard = performance.now();
    this.silent.clear();
    if (this.link === "lost") this.setLink("live");
  }

  takeUsage(usage) {
    if (!usage) return;
    const ids = Object.keys(usage).map(Number);
    for (const id of ids) {
      if (usage[id]) this.usage.set(id, usage[id]);
      else this.usage.delete(id);
    }
    if (ids.length) this.notify(ids);
  }

  // `foreground` is the cell that runs and since when, null if none has run for a while.
  takeForeground(foreground) {
    this.foreground = foreground;
    this.notify([]);
  }

  // `number` counts all messages of the kernel about details; `base` is the number of the message
  // about this job before. If changes overtake the answer with the beginning, they wait for it. If a
  // message is missing, the whole details are requested again.
  takeDetails(id, changes, whole = false) {
    if (!this.watched.has(id)) return; // it was closed meanwhile
    const known = this.details.get(id);
    if (changes.base !== undefined && (!known || changes.base > known.number)) {
      this.early.set(id, [...(this.early.get(id) ?? []).slice(-EARLY), changes]);
      if (known) this.fetchDetails(id);
      return;
    }
    if (known && changes.number <= known.number) return;
    const details = known ?? {};
    this.details.set(id, details);
    details.number = changes.number;
    if ("source" in changes) details.source = changes.source;
    if ("error" in changes) details.error = changes.error;
    if ("threads" in changes) details.threads = changes.threads;
    if ("processes" in changes) details.processes = changes.processes;
    if (changes.log) {
      const { start, lines } = changes.log;
      const log = (details.log ??= { start, lines: [] });
      if (start < log.start || start > log.start + log.lines.length) {
        log.start = start;
        log.lines = lines;
      } else {
        log.lines.splice(start - log.start, Infinity, ...lines);
      }
      const excess = log.lines.length - LOG_LINES;
      if (excess > 0) {
        log.lines.splice(0, excess);
        log.start += excess;
      }
    }
    const early = (whole && this.early.get(id)) || [];
    if (whole) this.early.delete(id);
    for (const later of early) this.takeDetails(id, later);
    this.notify([id]);
  }

  // Views

  open(view) {
    this.views.add(view);
    if (this.views.size > 1) {
      if (view.measures) this.ready.then(() => this.watch());
      return;
    }
    this.speaker = make("div", "ipykill-speaker", {
      role: "status",
      "aria-live": "polite",
      "data-model": this.id,
    });
    document.body.append(this.speaker);
    this.onVisible = () => this.watch();
    document.addEventListener("visibilitychange", this.onVisible);
    this.onHide = () => this.leave();
    addEventListener("pagehide", this.onHide);
    this.heartbeat = setInterval(() => this.beat(), HEARTBEAT);
    this.clock = setInterval(() => {
      if (!document.hidden) for (const it of this.views) it.tick();
    }, 1000);
    this.ready.then(() => this.watch());
  }

  close(view) {
    this.views.delete(view);
    if (this.views.size) {
      if (view.measures) this.watch();
      return;
    }
    clearInterval(this.heartbeat);
    clearInterval(this.clock);
    document.removeEventListener("visibilitychange", this.onVisible);
    removeEventListener("pagehide", this.onHide);
    this.speaker.remove();
    this.leave();
  }

  leave() {
    if (this.live) this.request({ do: "leave" });
  }

  notify(ids) {
    for (const view of this.views) view.changed(ids);
  }

  announceChanges(before) {
    const said = [];
    const counts = {};
    for (const [id, old] of before) {
      const job = this.rows.get(id);
      if (!job || !old) continue;
      if (old.state !== job.state && job.state !== "running") {
        said.push(`${titleOf(job)} ${job.state}`);
        counts[job.state] = (counts[job.state] ?? 0) + 1;
      } else if (job.hindrance && !old.hindrance) {
        said.push(`${titleOf(job)} still lives: ${job.hindrance}`);
      }
    }
    const sums = Object.entries(counts).map(([state, n]) => `${count(n, "job")} ${state}`);
    // The widgets and the sidebar have a speaker each; only the first one speaks.
    const first = document.querySelector(`.ipykill-speaker[data-model="${this.id}"]`);
    if (said.length && first === this.speaker) this.announce((said.length > 3 ? sums : said).join("; "));
  }

  announce(text) {
    if (this.speaker) this.speaker.textContent = text;
  }

  // Requests

  // After each answer on the control channel, JupyterLab takes the kernel for idle even if it runs a
  // cell. So while it runs one, this is sent rarely.
  beat() {
    const busy = this.model.widget_manager?.kernel?.status === "busy";
    if (!busy || performance.now() - this.watchedAt >= BUSY_HEARTBEAT) this.watch();
  }

  async watch() {
    if (!this.views.size || document.hidden || !["live", "lost"].includes(this.link)) return;
    if (this.asking) return;
    this.asking = true;
    this.watchedAt = performance.now();
    const details = [...this.watched.keys()];
    const usage = [...this.views].some((view) => view.measures);
    const reply = await this.request({ do: "watch", rev: this.revision, details, usage });
    this.asking = false;
    if (!reply) return;
    this.silent.clear();
    this.takeForeground(reply.foreground ?? null);
    if (usage) this.usage.clear();
    this.takeUsage(reply.usage);
    if (reply.state) {
      this.revision = -1;
      this.takeWhole(reply.state);
    } else if (this.link === "lost") this.setLink("live");
    if (this.revision < this.newest) this.watch();
  }

  async ask(what, job = null, more = {}) {
    const id = job && job.id;
    this.problem.delete(id);
    const slow = setTimeout(() => {
      this.silent.add(id);
      this.notify([id]);
    }, SLOW);
    const reply = await this.request(job ? { do: what, id } : { do: what, ...more });
    clearTimeout(slow);
    if (reply) this.silent.clear();
    const old = this.rows.get(id);
    if (reply?.row && old && !isOver(old)) {
      this.put(id, { ...reply.row, heard: reply.now }, reply.now);
      this.announceChanges(new Map([[id, old]]));
    }
    if (reply?.error) this.problem.set(id, reply.error);
    this.notify([id]);
    return reply;
  }

  async showDetails(id) {
    this.watched.set(id, (this.watched.get(id) ?? 0) + 1);
    if (this.live) await this.fetchDetails(id);
  }

  async fetchDetails(id) {
    if (this.fetching.has(id)) return;
    this.fetching.add(id);
    const reply = await this.request({ do: "details", id });
    this.fetching.delete(id);
    if (reply?.details) this.takeDetails(id, reply.details, true);
    if (reply?.error) this.problem.set(id, reply.error);
    this.notify([id]);
  }

  hideDetails(id) {
    const left = (this.watched.get(id) ?? 0) - 1;
    if (left > 0) {
      this.watched.set(id, left);
      return;
    }
    this.watched.delete(id);
    this.early.delete(id);
    if (this.live) this.details.delete(id); // they may be large, and the kernel can send them again
  }
}
