// The words for what is shown, and for how long.

export const STATES = {
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

export const titleOf = (job) => `${job.name} (job ${job.id})`;
export const count = (n, noun) => `${n} ${noun}${n === 1 ? "" : "s"}`;
