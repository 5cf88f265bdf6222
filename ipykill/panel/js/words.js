// States, durations and amounts, as icons and words.

// An icon is never a triangle, square or cross: these would look like buttons.
const RING = "M8 2.6a5.4 5.4 0 1 0 0 10.8A5.4 5.4 0 0 0 8 2.6";
const DISC = "M8 4.2a3.8 3.8 0 1 0 0 7.6A3.8 3.8 0 0 0 8 4.2";

export const STATES = {
  // state: [path of a 16 x 16 icon, whether the job is over]
  pending: [`${RING}M8 5.2V8l1.8 1.2`, false],
  running: [DISC, false],
  stopping: [`${RING}M8 6.6a1.4 1.4 0 1 0 0 2.8A1.4 1.4 0 0 0 8 6.6`, false],
  killing: [`${RING}M8 6.6a1.4 1.4 0 1 0 0 2.8A1.4 1.4 0 0 0 8 6.6`, false],
  done: ["M3.2 8.6l3.1 3.1 6.5-7.2", true],
  failed: [`${RING}M8 5v3.6M8 10.7v.2`, true],
  stopped: [`${RING}M5.8 8h4.4`, true],
  killed: [`${RING}M4.3 11.7l7.4-7.4`, true],
  skipped: ["M3.4 3.8l4 4.2-4 4.2M8.6 3.8l4 4.2-4 4.2", true],
  gone: ["M4 8h8", true], // set by the page, not the kernel: the kernel was restarted
};

export const isOver = (job) => STATES[job.state]?.[1] ?? false;

export function duration(seconds, exact = false) {
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

export function memory(bytes) {
  if (bytes < 1e6) return `${Math.ceil(bytes / 1e3)} kB`;
  if (bytes < 1e9) return `${Math.round(bytes / 1e6)} MB`;
  return `${(bytes / 1e9).toFixed(1)} GB`;
}

export function rate(steps) {
  if (steps >= 1000) return `${(steps / 1000).toPrecision(3)}k/s`;
  return `${steps >= 100 ? Math.round(steps) : Number(steps.toPrecision(2))}/s`;
}

// By the page's clock, as the texts of jobs say it: 2026-11-30 16:29:01, or the time alone.
export const clock = (seconds) => new Date(seconds * 1000).toTimeString().slice(0, 8);
export const moment = (seconds) => `${new Date(seconds * 1000).toLocaleDateString("sv")} ${clock(seconds)}`;

export const titleOf = (job) => `${job.name} (job ${job.id})`;
export const count = (n, noun) => `${n} ${noun}${n === 1 ? "" : "s"}`;
