// Says that a job has ended: by JupyterLab's toast, and on the desktop if the user wants that.

const MANY = 3; // jobs that end at one moment and are named
const SHOWN = 10_000; // ms
const FAILURE = "failed";

export class Notifier {
  // `reveal(link, job)` shows a job.
  constructor(Notification, kernels, options, reveal) {
    this.Notification = Notification;
    this.kernels = kernels;
    this.options = options;
    this.reveal = reveal;
    this.over = new WeakMap(); // jobs of a kernel -> ids of those of whose end was heard
    kernels.listeners.add((link, ids) => link && this.changed(link, ids));
  }

  changed(link, ids) {
    const { jobs, panel } = link;
    if (!panel || jobs.revision < 0) return;
    const isNew = !this.over.has(jobs); // what was over before the page looked is no news
    const over = this.over.get(jobs) ?? new Set();
    this.over.set(jobs, over);
    const ended = [];
    for (const id of ids ?? jobs.rows.keys()) {
      const job = jobs.rows.get(id);
      if (!job || !panel.isOver(job) || over.has(id)) continue;
      over.add(id);
      if (!isNew && this.isNews(link, job)) ended.push(job);
    }
    if (ended.length > MANY) this.tellMany(link, ended);
    else for (const job of ended) this.tell(link, this.sentence(link, job), job);
  }

  isNews(link, job) {
    const { notifyFailed, notifyAfter } = this.options;
    if (job.state === FAILURE && notifyFailed) return true;
    return (job.elapsed ?? 0) > notifyAfter && !this.isInSight(link);
  }

  isInSight(link) {
    return !document.hidden && this.kernels.placesOf(link).some((place) => place.isVisible);
  }

  sentence(link, job) {
    const after = job.elapsed !== undefined ? ` after ${link.panel.duration(job.elapsed, true)}` : "";
    const error = job.state === FAILURE && job.error ? `: ${job.error}` : "";
    return `${job.name}: ${job.state}${after}${error}`;
  }

  tellMany(link, ended) {
    const counts = {};
    for (const { state } of ended) counts[state] = (counts[state] ?? 0) + 1;
    const sums = Object.entries(counts).map(([state, n]) => `${n} ${state}`);
    const worst = ended.find((job) => job.state === FAILURE) ?? ended.at(-1);
    this.tell(link, `${ended.length} jobs have ended: ${sums.join(", ")}`, worst);
  }

  tell(link, message, job) {
    const failed = job.state === FAILURE;
    const stays = document.hidden || (failed && !this.isInSight(link)); // until it was seen
    const show = () => this.reveal(link, job);
    this.Notification.emit(message, failed ? "error" : "info", {
      autoClose: stays ? false : SHOWN,
      actions: [{ label: "Show", caption: "Show this job", callback: show }],
    });
    const away = document.hidden || !document.hasFocus();
    if (!this.options.desktop || !away || globalThis.Notification?.permission !== "granted") return;
    const [place] = this.kernels.placesOf(link);
    const tag = `ipykill-${link.kernel.id}-${job.id}`;
    const shown = new globalThis.Notification(message, { body: place?.title.label ?? "", tag });
    shown.onclick = () => {
      globalThis.focus();
      show();
    };
  }

  // The setting was switched on. A browser may want a click on the page first.
  async askPermission() {
    const { Notification: Desktop } = globalThis;
    if (!Desktop) {
      this.Notification.warning("This browser shows no notifications on the desktop to this page");
      return;
    }
    const state = Desktop.permission === "default" ? await Desktop.requestPermission() : Desktop.permission;
    if (state === "denied") {
      this.Notification.warning(
        "The browser blocks notifications of this page; allow them in the browser's settings");
    } else if (state === "default") {
      const callback = () => Desktop.requestPermission();
      const actions = [{ label: "Allow", callback }];
      this.Notification.info("Let the browser tell on the desktop when jobs end?", {
        autoClose: false,
        actions,
      });
    }
  }
}
