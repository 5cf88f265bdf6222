// Decides which jobs are in the list, and in which order.

import { isOver } from "./words.js";

export const FOLD = "fold"; // the key of the line that hides the finished jobs
const OPEN_GROUP = 4; // a group of at most so many jobs is open at first

export const isGroup = (item) => typeof item === "string" && item !== FOLD;

// The value of a job by which each column sorts.
export const KEYS = {
  name: (job) => job.name.toLowerCase(),
  state: (job) => job.state,
  place: (job) => job.progress?.total ? job.progress.done / job.progress.total : (job.place ?? ""),
  time: (job, jobs) => jobs.elapsed(job),
  cpu: (job, jobs) => jobs.usage.get(job.id)?.[0] ?? 0,
  memory: (job, jobs) => jobs.usage.get(job.id)?.[1] ?? 0,
  rate: (job) => isOver(job) ? 0 : (job.progress?.rate ?? 0),
};

function compare(one, other) {
  if (typeof one === typeof other) return one < other ? -1 : one > other ? 1 : 0;
  return typeof one === "number" ? 1 : -1; // a job's progress counts as more than its place
}

// Puts jobs of the same name together; if there are several, below a line of their group.
function grouped(section, found, jobs, { groups }) {
  const byName = new Map();
  for (const job of found) {
    if (byName.has(job.name)) byName.get(job.name).push(job);
    else byName.set(job.name, [job]);
  }
  return [...byName].flatMap(([name, members]) => {
    const ids = members.map((job) => job.id);
    if (ids.length === 1) return ids;
    const key = `${section}:${name}`;
    const group = groups.get(key) ?? { open: ids.length <= OPEN_GROUP };
    groups.set(key, Object.assign(group, { name, members }));
    return group.open ? [key, ...ids] : [key];
  });
}

// `view` has what the user chose (states, words, sort, groups, unfolded), and `ended`: the jobs that
// have just ended, or failed unseen.
export function arrange(jobs, view) {
  const filtered = view.states.size > 0 || view.words.length > 0;
  const found = { filtered, counts: {}, anyLive: false, folded: 0, shown: [] };
  const failed = [];
  const top = [];
  const over = [];
  for (const job of jobs.rows.values()) {
    found.counts[job.state] = (found.counts[job.state] ?? 0) + 1;
    const ended = isOver(job);
    found.anyLive ||= !ended;
    if (view.states.size && !view.states.has(job.state)) continue;
    if (view.words.length) {
      const text = `${job.id} ${job.name} ${job.place ?? ""} ${job.last ?? ""}`.toLowerCase();
      if (!view.words.every((word) => text.includes(word))) continue;
    }
    found.shown.push(job.id);
    if (job.state === "failed" && view.ended.has(job.id)) failed.push(job);
    else (filtered || !ended || view.ended.has(job.id) ? top : over).push(job);
  }
  for (const section of [failed, top, over]) {
    section.reverse(); // the newest first
    if (!view.sort) continue;
    const value = KEYS[view.sort.key];
    section.sort((one, other) => view.sort.step * compare(value(one, jobs), value(other, jobs)));
  }
  found.folded = over.length;
  const put = (name, section) =>
    view.sort ? section.map((job) => job.id) : grouped(name, section, jobs, view);
  found.items = [...failed.map((job) => job.id), ...put("top", top)];
  if (over.length) found.items.push(FOLD);
  if (over.length && (view.unfolded ?? !found.anyLive)) found.items.push(...put("over", over));
  return found;
}
