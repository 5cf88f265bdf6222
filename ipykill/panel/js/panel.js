// The list of all jobs.

import { count, isOver, moment, STATES } from "./words.js";
import { button, make, setAttribute, setText } from "./elements.js";
import { Offer } from "./foreground.js";
import { drawChips, makeChips } from "./chips.js";
import { Columns } from "./columns.js";
import { focusItem, Group, makeHelp, pressInList, pressInPanel } from "./keys.js";
import { arrange, FOLD, isGroup } from "./order.js";
import { ARMED, JobView, NOT_ANSWERED } from "./job_view.js";

const LINGER = 20; // seconds for which a job that has just ended keeps its place
const HEIGHT = 30; // px; the assumed height of a row that was not measured yet
const MARGIN = 300; // px; rows so far above and below the visible part are drawn as well
const FOLD_HEIGHT = 30; // px; the height of a line that folds jobs

export class Panel {
  constructor(jobs, root) {
    this.jobs = jobs;
    this.root = root;
    this.views = new Map(); // what is drawn: id -> JobView
    this.heights = new Map([[FOLD, FOLD_HEIGHT]]);
    this.order = []; // ids, from the top
    this.states = new Set(); // the states that the list is filtered by
    this.unfolded = null; // null: finished jobs are shown if there are no others
    this.ended = new Map(); // id -> when this page saw it end; such a job keeps its place
    this.groups = new Map(); // key of a group -> its name, its jobs, and whether it is open
    this.groupViews = new Map();
    this.measures = true; // the kernel looks at CPU and memory while this is open

    this.chips = makeChips(this.states, () => this.layOut());
    this.search = make("input", "ipykill-search", {
      type: "search",
      placeholder: "Filter",
      "aria-label": "Filter jobs",
    });
    this.search.addEventListener("input", () => this.layOut());
    this.stopAll = button("Stop all", "Stop all jobs", () => this.askShown("stop_all"));
    this.killAll = button("Kill all", "Kill all jobs", () => this.clickKillAll(), "ipykill-kill");
    this.clear = button("Clear finished", "Clear finished jobs", () => this.askShown("clear"));
    this.help = makeHelp();
    this.helpButton = button("?", "Keys", () => this.toggleHelp(), "ipykill-help-button");
    this.tools = make("div", "ipykill-tools", {},
      this.search, this.stopAll, this.killAll, this.clear, this.helpButton);
    this.columns = new Columns(() => this.layOut());
    this.banner = make("div", "ipykill-banner");
    this.list = make("ul", "ipykill-list", { role: "list", "aria-label": "Jobs" });
    this.scroller = make("div", "ipykill-scroller", {}, this.list);
    this.empty = make("div", "ipykill-empty");
    const head = make("div", "ipykill-head", {}, this.chips, this.tools);
    root.append(head, this.help, this.banner);
    this.offer = new Offer(jobs, null, root, false);
    root.append(this.columns.el, this.scroller, this.empty);

    this.foldButton = button("", "", () => {
      this.unfolded = !this.isUnfolded;
      this.layOut();
    }, "ipykill-fold");
    this.foldButton.title = "Failed jobs go here once they were seen";
    this.fold = make("li", "ipykill-fold-row", {}, this.foldButton);

    this.sizes = new ResizeObserver((entries) => this.measured(entries));
    this.sizes.observe(this.scroller);
    this.scroller.addEventListener("scroll", () => this.schedule(), { passive: true });
    this.list.addEventListener("keydown", (event) => pressInList(this, event));
    root.addEventListener("keydown", (event) => event.defaultPrevented || pressInPanel(this, event));
    for (const it of ["pointermove", "focusin"]) {
      this.list.addEventListener(it, () => {
        for (const id of this.views.keys()) this.jobs.seen.add(id);
      });
    }
    this.changed(null);
  }

  changed(ids) {
    this.offer.changed();
    const first = !this.over; // jobs that were over before the panel opened are not news
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

  // A failed job keeps its place until the user has been at the list, and a moment longer.
  isUnseen(id) {
    return this.jobs.rows.get(id)?.state === "failed" && !this.jobs.seen.has(id);
  }

  // Whether the user reads its details, or is about to press one of its buttons.
  isBusy(id) {
    const view = this.views.get(id);
    return view && (view.tab || view.el.matches(":hover, :focus-within"));
  }

  get isUnfolded() {
    return this.unfolded ?? !this.anyLive;
  }

  get words() {
    return this.search.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
  }

  get sort() {
    return this.columns.sort;
  }

  layOut() {
    Object.assign(this, arrange(this.jobs, this));
    const { items } = this;
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
      // A row with the focus stays in the page, however far away it is.
      if ((y + height > from && y < to) || (focused && node === focused)) wanted.push([id, y, index]);
      end = y + height;
    }
    this.list.style.height = `${end}px`;
    this.drawRows(wanted, items.length);
  }

  // Returns the id, top and height of each item, in pixels.
  places() {
    let y = 0;
    return this.order.map((id) => {
      const fixed = isGroup(id) ? FOLD_HEIGHT : null;
      const height = fixed ?? this.heights.get(id) ?? this.usual ?? HEIGHT;
      y += height;
      return [id, y - height, height];
    });
  }

  node(id) {
    if (id === FOLD) return this.fold;
    return (isGroup(id) ? this.groupViews : this.views).get(id)?.el;
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
    for (const [key, group] of this.groupViews) {
      if (keep.has(key)) continue;
      group.el.remove();
      this.groupViews.delete(key);
    }
    if (!keep.has(FOLD)) this.fold.remove();
    const focused = this.list.contains(document.activeElement) && document.activeElement;
    let after = null;
    for (const [id, y, index] of wanted) {
      const node = id === FOLD ? this.fold : isGroup(id) ? this.group(id).el : this.row(id).el;
      const place = after ? after.nextSibling : this.list.firstChild;
      if (node !== place) this.list.insertBefore(node, place);
      node.style.transform = `translateY(${y}px)`;
      if (id === this.current || (index === 0 && !this.order.includes(this.current))) {
        setAttribute(node, "tabindex", id === FOLD || isGroup(id) ? null : 0);
      } else setAttribute(node, "tabindex", id === FOLD || isGroup(id) ? null : -1);
      setAttribute(node, "aria-setsize", total);
      setAttribute(node, "aria-posinset", index + 1);
      after = node;
    }
    // A node that was moved has lost the focus.
    if (focused && document.activeElement !== focused) focused.focus({ preventScroll: true });
    this.stale = undefined;
  }

  openTabs = new Map();

  group(key) {
    if (!this.groupViews.has(key)) {
      this.groupViews.set(key, new Group(() => {
        const group = this.groups.get(key);
        group.open = !group.open;
        this.layOut();
      }));
    }
    const view = this.groupViews.get(key);
    view.draw(this.groups.get(key));
    return view;
  }

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
    // At once, before the browser paints, so that no row is seen on top of another one.
    for (const [id, y] of this.places()) {
      const node = this.node(id);
      if (node) node.style.transform = `translateY(${y}px)`;
    }
    this.schedule();
  }

  // How many jobs are over.
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
    drawChips(this.chips, this.counts, this.states);
    this.root.classList.toggle("ipykill-bare", rows.size === 0);
    this.stopAll.hidden = this.killAll.hidden = !live || !connected;
    this.clear.hidden = !over || !connected;
    this.search.hidden = rows.size < 6 && !this.search.value && document.activeElement !== this.search;
    this.columns.el.hidden = rows.size < 2;
    const width = this.scroller.clientWidth || this.root.clientWidth;
    if (width) this.columns.fit(this.root, width, this.jobs);
    if (focused?.hidden) this.root.focus();
    if (!live) this.disarm();
    else if (this.armed) setText(this.killAll, `Kill ${this.liveShown}?`); // jobs may have been added
    else setText(this.killAll, this.filtered ? "Kill shown" : "Kill all");
    setText(this.stopAll, this.filtered ? "Stop shown" : "Stop all");
    setText(this.clear, this.filtered ? "Clear shown" : "Clear finished");
    const then = moment(this.jobs.asOf);
    const { problem, silent } = this.jobs;
    const words = {
      live: problem.get(null) ?? (silent.has(null) ? NOT_ANSWERED : ""),
      lost: `No answer from the kernel since ${then}.`,
      restarted: "The kernel was restarted; its jobs ended with it. Run %bgpanel again for new ones.",
      saved: `No kernel; this was true on ${then}.`,
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

  // With a filter, a request for all jobs is for those that are shown.
  askShown(what) {
    this.jobs.ask(what, null, this.filtered ? { ids: this.shown } : {});
  }

  get liveShown() {
    const live = (id) => this.jobs.rows.has(id) && !isOver(this.jobs.rows.get(id));
    return this.filtered ? this.shown.filter(live).length : this.jobs.rows.size - this.overCount;
  }

  // "Kill all" always needs a second click.
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

  toggleHelp() {
    this.help.hidden = !this.help.hidden;
    setAttribute(this.helpButton, "aria-expanded", !this.help.hidden);
  }

  itemOf(row) {
    if (row === this.fold) return FOLD;
    const group = [...this.groupViews].find(([, view]) => view.el === row);
    return group ? group[0] : Number(row.dataset.job);
  }

  // Scrolls to an item and focuses it: its button of the same kind as `like`, or the whole row.
  focusRow(item, like = null) {
    if (item === undefined) return;
    if (!isGroup(item) && item !== FOLD) this.current = item;
    this.scrollTo(item);
    focusItem(this, item, like);
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
