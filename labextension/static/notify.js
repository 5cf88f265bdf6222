// Tells that a job has ended: in a toast of JupyterLab, and on the desktop if the user wants that.

const MANY = 3; // if more jobs have ended, they are counted and not named
const TOGETHER = 1_000; // ms; what ends in this time is told in one toast
const SHOWN = 10_000; // ms
const FAILURE = "failed";

export class Notifier {
  // `reveal(link, job)` shows a job.
  constructor(Notification, kernels, options, reveal) {
    this.Notification = Notification;
    this.kernels = kernels;
    this.options = options;
    this.reveal = reveal;
    this.ended = new Map(); // link -> jobs that have ended and are told in a moment
    kernels.listeners.add((link, ids) => link && this.changed(link, ids));
  }

  changed(link, ids) {
    const { jobs, panel } = link;
    if (!panel || jobs.revision < 0) return;
    const isNew = !link.ended; // jobs that were over before the page looked are not news
    link.ended ??= new Set();
    for (const id of ids ?? jobs.rows.keys()) {
      const job = jobs.rows.get(id);
      if (!job || !panel.isOver(job) || link.ended.has(id)) continue;
      link.ended.add(id);
      if (!isNew && this.isNews(link, job)) this.collect(link, job);
    }
  }

  collect(link, job) {
    const waiting = this.ended.get(link);
    if (waiting) {
      waiting.push(job);
      return;
    }
    const ended = [job];
    const sentence = this.sentence(link, job); // now, because a restart of the kernel takes the panel away
    this.ended.set(link, ended);
    setTimeout(() => {
      this.ended.delete(link);
      if (ended.length > 1) this.tellMany(link, ended);
      else this.tell(link, sentence, job);
    }, TOGETHER);
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
    const names = {};
    for (const { name, state } of ended) (names[state] ??= []).push(name);
    const sums = Object.entries(names).map(([state, all]) =>
      `${all.length} ${state}${ended.length > MANY ? "" : ` (${all.join(", ")})`}`);
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

  // Called when the setting was switched on. A browser may require a click on the page first.
  async askPermission() {
    const { Notification: Desktop } = globalThis;
    if (!Desktop) {
      this.Notification.warning("This browser has no desktop notifications for this page");
      return;
    }
    const state = Desktop.permission === "default" ? await Desktop.requestPermission() : Desktop.permission;
    if (state === "denied") {
      this.Notification.warning(
        "The browser blocks notifications of this page; allow them in the browser's settings");
    } else if (state === "default") {
      const callback = () => Desktop.requestPermission();
      const actions = [{ label: "Allow", callback }];
      this.Notification.info("Show desktop notifications when jobs end?", {
        autoClose: false,
        actions,
      });
    }
  }
}
