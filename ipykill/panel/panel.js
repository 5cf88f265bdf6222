// The live views of background jobs: the panel of all jobs, and the card of one.
//
// `Jobs` holds what the kernel said and asks it for things; `JobView` draws one job; `Panel`
// draws the list. All text of the user's gets into the page as text (`textContent`), never
// as markup. The kernel's side is service.py and feed.py.

// ---------------------------------------------------------------------------------------
// Words

const STATES = {
  // state: [path of a 16 x 16 icon, whether the job is over]
  pending: ["M8 2.2a5.8 5.8 0 1 0 0 11.6A5.8 5.8 0 0 0 8 2.2M8 4.8V8l2.2 1.6", false],
  running: ["M5 3.2v9.6L12.8 8z", false],
  stopping: ["M4.5 4.5h7v7h-7z", false],
  killing: ["M4.2 4.2l7.6 7.6M11.8 4.2l-7.6 7.6", false],
  done: ["M3.2 8.6l3.1 3.1 6.5-7.2", true],
  failed: ["M8 2.4v7M8 12.2v1.4", true],
  stopped: ["M4.5 4.5h7v7h-7z", true],
  killed: ["M4.2 4.2l7.6 7.6M11.8 4.2l-7.6 7.6", true],
  skipped: ["M3.4 3.8l4 4.2-4 4.2M8.6 3.8l4 4.2-4 4.2", true],
  gone: ["M4 8h8", true], // not the kernel's word: it was restarted
};

const isOver = (job) => STATES[job.state]?.[1] ?? false;

function duration(seconds, exact = false) {
  const s = Math.max(seconds, 0);
  if (exact && s < 0.0995) return `${Math.round(s * 1000)} ms`;
  if (s < 59.95) return exact ? `${s.toFixed(1)} s` : `${Math.floor(s)} s`;
  const minutes = Math.floor(Math.round(s) / 60);
  const two = (n) => String(n).padStart(2, "0");
  if (minutes < 60) return `${minutes} min ${two(Math.round(s) % 60)} s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours} h ${two(minutes % 60)} min`;
  return `${Math.floor(hours / 24)} d ${two(hours % 24)} h`;
}

const titleOf = (job) => `${job.name} (job ${job.id})`;
const count = (n, noun) => `${n} ${noun}${n === 1 ? "" : "s"}`;

// ---------------------------------------------------------------------------------------
// Elements

function make(tag, className = "", attributes = {}, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function setAttribute(node, name, value) {
  if (value === null) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

const DRAGGED = 24; // px from where a button was pressed to where that is taken back

// What is pressed is clicked, though outputs that grow above it may move it away meanwhile.
function button(text, label, onClick, className = "") {
  const node = make("button", `ipykill-button ${className}`, { type: "button" }, text);
  if (label) node.setAttribute("aria-label", label);
  let pressed = null;
  node.addEventListener("pointerdown", (event) => {
    pressed = event;
    node.setPointerCapture(event.pointerId);
  });
  node.addEventListener("click", (event) => {
    const { clientX: x, clientY: y } = (event.detail > 0 && pressed) || event; // or by a key
    if (Math.hypot(event.clientX - x, event.clientY - y) <= DRAGGED) onClick(event);
  });
  return node;
}

function icon(path) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const shape = document.createElementNS("http://www.w3.org/2000/svg", "path");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  shape.setAttribute("d", path);
  svg.append(shape);
  return svg;
}

// ---------------------------------------------------------------------------------------
// What the kernel said

const HEARTBEAT = 15_000; // ms between two messages that say a view is open,
const BUSY_HEARTBEAT = 300_000; // and while the kernel runs a cell
const SLOW = 1_000; // ms after which a missing answer is spoken of
const PATIENCE = 3_000; // ms to wait for an answer on the control channel,
const LONG_PATIENCE = 30_000; // and for one that waits until the kernel's cell has ended
const EARLY = 50; // changes that wait for the beginning of a log
const LOG_LINES = 2_000; // lines of a log that a page keeps

class Jobs {
  constructor(model) {
    this.id = model.get("model");
    this.rows = new Map(); // id -> job, oldest first
    this.details = new Map(); // id -> {source, error, threads, processes, log: {start, lines}}
    this.link = "live"; // or "saved", "restarted", "lost"
    this.asOf = 0; // when the kernel was last heard of, in its own seconds,
    this.heard = 0; // and in ours
    this.problem = new Map(); // id -> why a request about the job failed; null -> about all
    this.silent = new Set(); // ids, null for all: the kernel has not answered a request
    this.page = crypto.randomUUID?.() ?? String(Math.random());
    this.views = new Set();
    this.watched = new Map(); // id -> how many views show its details
    this.early = new Map(); // id -> changes of details whose beginning is not here yet
    this.fetching = new Set(); // ids whose details are asked for
    this.seen = new Set(); // ids of what was in sight when somebody was at work there
    this.waiting = new Map();
    this.revision = -1;
    this.newest = -1;
    this.model = model;
    this.takeWhole(model.get("jobs"));
    model.on("change:jobs", () => this.takeWhole(model.get("jobs")));
    model.on("msg:custom", (message) => this.receive(message));
    this.ready = this.connect();
  }

  async connect() {
    // The whole model, of which anywidget shows a part.
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

  // The kernel's time, in seconds; it stands still when the kernel is not there.
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

  // Which cell runs in the foreground, since when; null: none that has run for a while.
  takeForeground(foreground) {
    this.foreground = foreground;
    this.notify([]);
  }

  // `number` counts what the kernel says of details, and `base` is the number of what it said
  // of this job before. What changes may overtake the answer that has the beginning; then it
  // waits for that. And a message may be missing; then the whole is asked for again.
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
    if (this.views.size > 1) return;
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
    if (this.views.size) return;
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
    // The widgets have one of these and the sidebar another; it is said once.
    const first = document.querySelector(`.ipykill-speaker[data-model="${this.id}"]`);
    if (said.length && first === this.speaker) this.announce((said.length > 3 ? sums : said).join("; "));
  }

  announce(text) {
    if (this.speaker) this.speaker.textContent = text;
  }

  // Requests

  // After each answer on the control channel, JupyterLab takes the kernel for idle, though it
  // runs a cell; so while it does, say rarely what can wait.
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
    const reply = await this.request({ do: "watch", rev: this.revision, details });
    this.asking = false;
    if (!reply) return;
    this.silent.clear();
    this.takeForeground(reply.foreground ?? null);
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
    if (this.live) this.details.delete(id); // the kernel has them, and they may be large
  }

  // Returns the kernel's answer, null if there is none.
  async request(content) {
    if (this.link === "restarted" || this.link === "saved") return null;
    const message = crypto.randomUUID?.() ?? String(Math.random());
    const whole = { ...content, model: this.id, page: this.page, message };
    const kernel = this.model.widget_manager?.kernel;
    let reply = null;
    if (typeof kernel?.sendControlMessage === "function") {
      reply = await this.throughControl(kernel, whole).catch(() => null);
    }
    reply ??= await this.throughComm(whole);
    if (reply?.stranger) {
      this.setLink("restarted");
      return null;
    }
    if (!reply && content.do === "watch") this.setLink("lost");
    return reply;
  }

  // Answered while the kernel runs a cell. `kernel` is @jupyterlab/services' connection.
  throughControl(kernel, content) {
    const message = {
      header: {
        msg_id: content.message,
        msg_type: "ipykill_request",
        session: kernel.clientId,
        username: kernel.username ?? "",
        date: new Date().toISOString(),
        version: "5.3",
      },
      parent_header: {},
      metadata: {},
      content,
      channel: "control",
      buffers: [],
    };
    return new Promise((resolve, reject) => {
      const future = kernel.sendControlMessage(message, true, true);
      future.done.catch(() => undefined);
      future.onReply = (answer) => {
        resolve(answer.content);
        setTimeout(() => future.dispose()); // no status follows, see _leave_status_alone
      };
      setTimeout(() => {
        reject(new Error("no answer on the control channel"));
        if (!future.isDisposed) future.dispose();
      }, PATIENCE);
    });
  }

  throughComm(content) {
    const { message } = content;
    return new Promise((resolve) => {
      const finish = (reply) => {
        this.waiting.delete(message);
        resolve(reply);
      };
      this.waiting.set(message, finish);
      setTimeout(finish, LONG_PATIENCE, null);
      try {
        this.model.send(content);
      } catch {
        finish(null);
      }
    });
  }
}

// ---------------------------------------------------------------------------------------
// The cell in the foreground

class Offer {
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

// ---------------------------------------------------------------------------------------
// One job

// ms for which a first click on Kill waits for the second, wherever the keyboard's focus is: the
// front end may move that by itself, as Notebook does after a cell started.
const ARMED = 3_000;
const OVERDUE = 3; // seconds after which a Stop that has no effect is overdue
const PENDING_KILL = 1; // seconds after which a Kill that has no effect is explained
const NOT_ANSWERED = "The kernel has not answered yet; it may be in C code that lets nothing else run.";

class JobView {
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

function drawLog(pane, { log }, job) {
  const text = log?.lines.length ? log.lines.join("\n") : "";
  const empty = isOver(job) ? "It printed nothing." : "Nothing printed yet.";
  pane.classList.toggle("ipykill-empty-pane", !text);
  const dropped = text && log.start ? `(${count(log.start, "earlier line")})\n` : "";
  setText(pane, text ? dropped + text : empty);
}

function drawSource(pane, { source }) {
  pane.classList.remove("ipykill-empty-pane");
  setText(pane, source);
}

function stackElements(frames, margin = "") {
  return frames.flatMap(({ place, function: name, source }) => [
    make("div", "ipykill-frame", {}, `${margin}${place}, in ${name}\n`),
    make("div", "ipykill-frame-source", {}, source ? `${margin}    ${source}\n` : ""),
  ]);
}

function drawStacks(pane, { threads }) {
  pane.classList.remove("ipykill-empty-pane");
  pane.replaceChildren(
    ...threads.flatMap(({ name, depth, hindrance, stack }) => {
      const margin = "  ".repeat(depth); // a child is indented below what started it
      const why = hindrance ? `: ${hindrance}` : "";
      const title = make("div", "ipykill-thread", {}, `${margin}${name}${why}\n`);
      return [title, ...stackElements(stack, margin)];
    }),
  );
}

function drawProcesses(pane, { processes }) {
  pane.classList.remove("ipykill-empty-pane");
  const lines = processes.map(
    ({ pid, command, running }) => `${pid}  ${command}${running ? "" : "  (it has ended)"}`,
  );
  setText(pane, lines.join("\n"));
}

function drawError(pane, { error }) {
  pane.classList.remove("ipykill-empty-pane");
  const words = error.message ? `${error.type}: ${error.message}\n` : `${error.type}\n`;
  pane.replaceChildren(make("div", "ipykill-error", {}, words), ...stackElements(error.stack));
}

// ---------------------------------------------------------------------------------------
// The list

const LINGER = 20; // seconds for which a job that has just ended keeps its place
const HEIGHT = 46; // px of a row until it was measured
const MARGIN = 300; // px above and below the visible part that are drawn as well
const FOLD = "fold"; // the key of the line that hides the finished jobs,
const FOLD_HEIGHT = 34; // and its height

class Panel {
  constructor(jobs, root) {
    this.jobs = jobs;
    this.root = root;
    this.views = new Map(); // what is drawn: id -> JobView
    this.heights = new Map([[FOLD, FOLD_HEIGHT]]);
    this.order = []; // ids, from the top
    this.states = new Set(); // the states that are filtered for
    this.unfolded = null; // null: the finished jobs show when no other is there
    this.ended = new Map(); // id -> when this page saw it end

    this.chips = make("div", "ipykill-chips", { role: "group", "aria-label": "Jobs by state" });
    this.chips.append(...Object.keys(STATES).map((state) => this.makeChip(state)));
    this.search = make("input", "ipykill-search", {
      type: "search",
      placeholder: "Filter",
      "aria-label": "Filter jobs",
    });
    this.search.addEventListener("input", () => this.layOut());
    this.stopAll = button("Stop all", "Stop all jobs", () => this.askShown("stop_all"));
    this.killAll = button("Kill all", "Kill all jobs", () => this.clickKillAll(), "ipykill-kill");
    this.clear = button("Clear finished", "Clear finished jobs", () => this.askShown("clear"));
    this.tools = make("div", "ipykill-tools", {}, this.search, this.stopAll, this.killAll, this.clear);
    this.banner = make("div", "ipykill-banner");
    this.list = make("ul", "ipykill-list", { role: "list", "aria-label": "Jobs" });
    this.scroller = make("div", "ipykill-scroller", {}, this.list);
    this.empty = make("div", "ipykill-empty");
    const head = make("div", "ipykill-head", {}, this.chips, this.tools);
    root.append(head, this.banner);
    this.offer = new Offer(jobs, null, root, false);
    root.append(this.scroller, this.empty);

    this.foldButton = button("", "", () => {
      this.unfolded = !this.isUnfolded;
      this.layOut();
    }, "ipykill-fold");
    this.fold = make("li", "ipykill-fold-row", {}, this.foldButton);

    this.sizes = new ResizeObserver((entries) => this.measured(entries));
    this.sizes.observe(this.scroller);
    this.scroller.addEventListener("scroll", () => this.schedule(), { passive: true });
    this.list.addEventListener("keydown", (event) => this.moveRow(event));
    for (const it of ["pointermove", "focusin"]) {
      this.list.addEventListener(it, () => {
        for (const id of this.views.keys()) this.jobs.seen.add(id);
      });
    }
    this.changed(null);
  }

  changed(ids) {
    this.offer.changed();
    const first = !this.over; // what was over before is not news
    this.over ??= new Set();
    for (const id of ids ?? this.jobs.rows.keys()) {
      const job = this.jobs.rows.get(id);
      if (!job || !isOver(job)) this.over.delete(id);
      else if (!this.over.has(id)) {
        this.over.add(id);
        if (!first || this.isUnseen(id)) this.ended.set(id, performance.now());
      }
    }
    this.stale = ids === null || this.stale === null ? null : [...(this.stale ?? []), ...ids];
    this.schedule();
  }

  schedule() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.layOut();
    });
  }

  tick() {
    this.offer.tick();
    let over = false;
    for (const [id, at] of this.ended) {
      if (this.isUnseen(id)) this.ended.set(id, performance.now());
      if (performance.now() - at < LINGER * 1000 || this.isUnseen(id) || this.isBusy(id)) continue;
      this.ended.delete(id);
      over = true;
    }
    if (over) this.layOut();
    for (const view of this.views.values()) view.tick();
  }

  // A failure keeps its place until somebody was at the list, and for a moment more.
  isUnseen(id) {
    return this.jobs.rows.get(id)?.state === "failed" && !this.jobs.seen.has(id);
  }

  // Somebody reads its details or is about to press one of its buttons.
  isBusy(id) {
    const view = this.views.get(id);
    return view && (view.tab || view.el.matches(":hover, :focus-within"));
  }

  get isUnfolded() {
    return this.unfolded ?? !this.anyLive;
  }

  // What is in the list: ids, newest first, and the line that folds.
  items() {
    const words = this.search.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const filtered = (this.filtered = this.states.size > 0 || words.length > 0);
    const top = [];
    const folded = [];
    this.counts = {};
    this.anyLive = false;
    for (const job of this.jobs.rows.values()) {
      this.counts[job.state] = (this.counts[job.state] ?? 0) + 1;
      const over = isOver(job);
      this.anyLive ||= !over;
      if (this.states.size && !this.states.has(job.state)) continue;
      if (words.length) {
        const text = `${job.id} ${job.name} ${job.place ?? ""} ${job.last ?? ""}`.toLowerCase();
        if (!words.every((word) => text.includes(word))) continue;
      }
      (filtered || !over || this.ended.has(job.id) ? top : folded).push(job.id);
    }
    this.folded = folded.length;
    top.reverse();
    if (!folded.length) return top;
    return this.isUnfolded ? [...top, FOLD, ...folded.reverse()] : [...top, FOLD];
  }

  layOut() {
    const items = this.items();
    this.drawHead(items);
    const view = this.scroller.clientHeight || 480;
    const from = this.scroller.scrollTop - MARGIN;
    const to = this.scroller.scrollTop + view + MARGIN;
    const focused = document.activeElement?.closest?.(".ipykill-list > li");
    const wanted = [];
    let end = 0;
    this.order = items;
    for (const [index, [id, y, height]] of this.places().entries()) {
      const node = this.node(id);
      // What has the keyboard's focus stays, however far away it is.
      if ((y + height > from && y < to) || (focused && node === focused)) wanted.push([id, y, index]);
      end = y + height;
    }
    this.list.style.height = `${end}px`;
    this.drawRows(wanted, items.length);
  }

  // Of each item: id, top and height, in pixels.
  places() {
    let y = 0;
    return this.order.map((id) => {
      const height = this.heights.get(id) ?? this.usual ?? HEIGHT;
      y += height;
      return [id, y - height, height];
    });
  }

  node(id) {
    return id === FOLD ? this.fold : this.views.get(id)?.el;
  }

  drawRows(wanted, total) {
    const keep = new Set(wanted.map(([id]) => id));
    for (const [id, view] of this.views) {
      if (keep.has(id)) continue;
      if (view.tab && this.jobs.rows.has(id)) this.openTabs.set(id, view.tab);
      this.sizes.unobserve(view.el);
      view.destroy();
      view.el.remove();
      this.views.delete(id);
    }
    if (!keep.has(FOLD)) this.fold.remove();
    const focused = this.list.contains(document.activeElement) && document.activeElement;
    let after = null;
    for (const [id, y, index] of wanted) {
      const node = id === FOLD ? this.fold : this.row(id).el;
      const place = after ? after.nextSibling : this.list.firstChild;
      if (node !== place) this.list.insertBefore(node, place);
      node.style.transform = `translateY(${y}px)`;
      setAttribute(node, "aria-setsize", total);
      setAttribute(node, "aria-posinset", index + 1);
      after = node;
    }
    // To be moved costs a node the keyboard's focus.
    if (focused && document.activeElement !== focused) focused.focus({ preventScroll: true });
    this.stale = undefined;
  }

  openTabs = new Map();

  row(id) {
    let view = this.views.get(id);
    if (!view) {
      view = new JobView(this.jobs, this.jobs.rows.get(id));
      view.el.dataset.job = id;
      this.views.set(id, view);
      this.sizes.observe(view.el);
      if (this.openTabs.has(id)) {
        view.openDetails(this.openTabs.get(id));
        this.openTabs.delete(id);
      }
    } else if (this.stale === null || this.stale?.includes(id)) {
      view.draw();
    }
    return view;
  }

  measured(entries) {
    let changed = false;
    for (const { target } of entries) {
      const id = Number(target.dataset?.job);
      if (!id) {
        changed = true;
        continue;
      }
      const height = target.offsetHeight;
      if (!height || this.heights.get(id) === height) continue;
      this.heights.set(id, height);
      const view = this.views.get(id);
      if (!view?.tab) this.usual = height;
      else if (performance.now() - view.opened < 1000) this.scrollTo(id);
      changed = true;
    }
    if (!changed) return;
    // Before the next picture: no row is seen on top of another one.
    for (const [id, y] of this.places()) {
      const node = this.node(id);
      if (node) node.style.transform = `translateY(${y}px)`;
    }
    this.schedule();
  }

  // How many jobs of the list are over.
  get overCount() {
    return Object.entries(this.counts).reduce(
      (sum, [state, n]) => sum + (STATES[state]?.[1] ? n : 0), 0);
  }

  drawHead(items) {
    const { rows, link } = this.jobs;
    const over = this.overCount;
    const live = rows.size - over;
    const connected = link === "live" || link === "lost";
    const focused = this.root.contains(document.activeElement) && document.activeElement;
    this.drawChips();
    this.root.classList.toggle("ipykill-bare", rows.size === 0);
    this.stopAll.hidden = this.killAll.hidden = !live || !connected;
    this.clear.hidden = !over || !connected;
    this.search.hidden = rows.size < 6 && !this.search.value;
    if (focused?.hidden) this.root.focus();
    if (!live) this.disarm();
    else if (this.armed) setText(this.killAll, `Kill ${this.liveShown}?`); // also those that came since
    else setText(this.killAll, this.filtered ? "Kill shown" : "Kill all");
    setText(this.stopAll, this.filtered ? "Stop shown" : "Stop all");
    setText(this.clear, this.filtered ? "Clear shown" : "Clear finished");
    const moment = new Date(this.jobs.asOf * 1000).toLocaleString();
    const { problem, silent } = this.jobs;
    const words = {
      live: problem.get(null) ?? (silent.has(null) ? NOT_ANSWERED : ""),
      lost: `No answer from the kernel since ${moment}.`,
      restarted: "The kernel was restarted; its jobs ended with it. Run %bgpanel again for new ones.",
      saved: `No kernel; this was true on ${moment}.`,
    }[link];
    setText(this.banner, words);
    this.banner.hidden = !words;
    this.scroller.hidden = items.length === 0;
    this.empty.hidden = items.length > 0;
    if (items.length === 0 && this.emptyFor !== rows.size) this.drawEmpty(rows.size);
    this.emptyFor = items.length === 0 ? rows.size : null;
    const action = this.isUnfolded ? "Hide" : "Show";
    setText(this.foldButton, `${action} ${this.folded} finished`);
    setAttribute(this.foldButton, "aria-expanded", this.isUnfolded);
  }

  drawEmpty(total) {
    if (total) {
      this.empty.replaceChildren("No job matches the filter.");
      return;
    }
    this.empty.replaceChildren(
      make("div", "ipykill-empty-title", {}, "No background jobs"),
      make("div", "", {}, "Write ", make("code", "", {}, "%%bg"),
        " on the first line of a cell to run it in the background."),
    );
  }

  drawChips() {
    for (const chip of this.chips.children) {
      const { state } = chip.dataset;
      chip.hidden = !this.counts[state] && !this.states.has(state);
      setText(chip.lastChild, `${this.counts[state] ?? 0} ${state}`);
      setAttribute(chip, "aria-pressed", this.states.has(state));
    }
  }

  makeChip(state) {
    const chip = button("", "", () => {
      if (!this.states.delete(state)) this.states.add(state);
      this.layOut();
    }, "ipykill-chip");
    chip.dataset.state = state;
    chip.title = `Show only the jobs that are ${state}`;
    chip.append(make("span", "ipykill-icon", {}, icon(STATES[state][0])), make("span"));
    return chip;
  }

  // With a filter, what concerns all jobs concerns those that are shown.
  askShown(what) {
    this.jobs.ask(what, null, this.filtered ? { ids: this.order.filter((id) => id !== FOLD) } : {});
  }

  get liveShown() {
    const live = (id) => this.jobs.rows.has(id) && !isOver(this.jobs.rows.get(id));
    return this.filtered ? this.order.filter(live).length : this.jobs.rows.size - this.overCount;
  }

  // Kill all always asks, in place.
  clickKillAll() {
    if (this.armed) {
      this.disarm();
      this.askShown("kill_all");
      return;
    }
    const live = this.liveShown;
    this.armed = setTimeout(() => this.disarm(), ARMED);
    this.killAll.classList.add("ipykill-armed");
    setText(this.killAll, `Kill ${live}?`);
    this.jobs.announce(`Press again to kill ${count(live, "job")}`);
  }

  disarm() {
    if (!this.armed) return;
    clearTimeout(this.armed);
    this.armed = null;
    this.killAll.classList.remove("ipykill-armed");
    setText(this.killAll, this.filtered ? "Kill shown" : "Kill all");
  }

  // Up and Down go to the same button of the row above and below.
  moveRow(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const row = event.target.closest("li");
    if (!step || !event.target.matches(".ipykill-actions > button, .ipykill-fold")) return;
    const id = row === this.fold ? FOLD : Number(row.dataset.job);
    const next = this.order[this.order.indexOf(id) + step];
    if (next === undefined) return;
    event.preventDefault();
    const kind = ["ipykill-stop", "ipykill-kill"].find((it) => event.target.classList.contains(it));
    this.scrollTo(next);
    if (next === FOLD) this.foldButton.focus({ preventScroll: true });
    else {
      const { el } = this.views.get(next);
      const same = kind && el.querySelector(`.${kind}:not([hidden])`);
      (same || el.querySelector(".ipykill-actions > button:not([hidden])"))?.focus({
        preventScroll: true,
      });
    }
  }

  scrollTo(item) {
    const place = this.places().find(([id]) => id === item);
    if (!place) return;
    const [, y, height] = place;
    const { scrollTop, clientHeight } = this.scroller;
    if (y < scrollTop) this.scroller.scrollTop = y;
    else if (y + height > scrollTop + clientHeight) this.scroller.scrollTop = y + height - clientHeight;
    this.layOut();
  }

  destroy() {
    this.disarm();
    cancelAnimationFrame(this.frame);
    this.sizes.disconnect();
    for (const view of this.views.values()) view.destroy();
  }
}

class Card {
  constructor(jobs, row, root) {
    this.jobs = jobs;
    this.root = root;
    this.id = row.id;
    this.listed = jobs.rows.has(row.id);
    this.view = new JobView(jobs, row, true);
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

// ---------------------------------------------------------------------------------------
// anywidget

const panels = (globalThis[Symbol.for("ipykill.panels")] ??= new Map());

function draw(el, className, jobs, makeView) {
  // Keys that are pressed here are not commands to the notebook.
  const root = make("div", `ipykill ${className}`, { "data-lm-suppress-shortcuts": "true" });
  el.append(root);
  const view = makeView(root);
  jobs.open(view);
  return () => {
    view.destroy();
    jobs.close(view);
    root.remove();
  };
}

// Also for the JupyterLab extension (labextension/), which has a model that looks like anywidget's.
export function attach(model) {
  const jobs = new Jobs(model);
  return {
    jobs,
    isOver,
    duration,
    drawCard: (el, row) =>
      draw(el, "ipykill-card", jobs, (root) =>
        row.foreground ? new Offer(jobs, row.foreground, root) : new Card(jobs, row, root)),
    drawPanel: (el) =>
      draw(el, "ipykill-panel", jobs, (root) => {
        root.setAttribute("role", "region");
        root.setAttribute("aria-label", "Background jobs");
        root.setAttribute("tabindex", "-1");
        return new Panel(jobs, root);
      }),
  };
}

export default {
  initialize({ model }) {
    const panel = attach(model);
    const { id } = panel.jobs;
    const waiting = panels.get(id);
    panels.set(id, { ...panel, promise: Promise.resolve(panel) });
    waiting?.resolve?.(panel);
    return () => panels.delete(id);
  },

  render({ model, el }) {
    return panels.get(model.get("model")).drawPanel(el);
  },
};
