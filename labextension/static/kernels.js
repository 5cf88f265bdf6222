// Knows the kernels of all open notebooks and consoles, and which of them is the current one.

import { Link } from "./link.js";

export class Kernels {
  // `trackers` are the trackers of notebooks and of consoles; `shell` is the shell of the application.
  constructor(shell, trackers) {
    this.shell = shell;
    this.places = new Set(); // notebooks and consoles
    this.links = new Map(); // id of a kernel -> Link
    this.listeners = new Set(); // called with a link and ids of jobs; with null if others may be current
    this.current = null; // the notebook or console that was last in use
    for (const tracker of trackers) {
      tracker.forEach((place) => this.add(place));
      tracker.widgetAdded.connect((_, place) => this.add(place));
    }
    shell.currentChanged?.connect(() => this.choose());
    this.choose();
  }

  get link() {
    return this.linkOf(this.current);
  }

  linkOf(place) {
    return this.links.get(place?.sessionContext.session?.kernel?.id) ?? null;
  }

  placesOf(link) {
    return [...this.places].filter((place) => this.linkOf(place) === link);
  }

  add(place) {
    this.places.add(place);
    place.sessionContext.kernelChanged.connect(() => this.connect());
    place.title.changed.connect(() => place === this.current && this.tell(null));
    place.disposed.connect(() => {
      this.places.delete(place);
      if (this.current === place) this.current = null;
      this.choose();
    });
    this.connect();
    this.choose();
  }

  choose() {
    const { currentWidget } = this.shell;
    if (this.places.has(currentWidget)) this.current = currentWidget;
    this.current ??= [...this.places].at(-1) ?? null;
    this.tell(null);
  }

  // Makes a link for each kernel. Two notebooks with one kernel have two connections; one is enough.
  connect() {
    for (const [id, link] of this.links) {
      if (link.kernel.isDisposed) this.links.delete(id);
    }
    for (const place of this.places) {
      const kernel = place.isDisposed ? null : place.sessionContext.session?.kernel;
      if (!kernel || kernel.isDisposed || this.links.has(kernel.id)) continue;
      const link = new Link(kernel, (ids) => this.tell(link, ids));
      this.links.set(kernel.id, link);
      // Later, because the code that disposes of it may be about to set the next kernel.
      kernel.disposed.connect(() => setTimeout(() => this.connect()));
    }
    this.tell(null);
  }

  tell(link, ids = null) {
    for (const listener of this.listeners) listener(link, ids);
  }
}
