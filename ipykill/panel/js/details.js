// Draws the contents of the tabs below a job: log, source, stacks, processes, error.

import { count, isOver } from "./words.js";
import { make, setText } from "./elements.js";

export function drawLog(pane, { log }, job) {
  const text = log?.lines.length ? log.lines.join("\n") : "";
  const empty = isOver(job) ? "It printed nothing." : "Nothing printed yet.";
  pane.classList.toggle("ipykill-empty-pane", !text);
  const dropped = text && log.start ? `(${count(log.start, "earlier line")})\n` : "";
  setText(pane, text ? dropped + text : empty);
}

export function drawSource(pane, { source }) {
  pane.classList.remove("ipykill-empty-pane");
  setText(pane, source);
}

function stackElements(frames, margin = "") {
  return frames.flatMap(({ place, function: name, source }) => [
    make("div", "ipykill-frame", {}, `${margin}${place}, in ${name}\n`),
    make("div", "ipykill-frame-source", {}, source ? `${margin}    ${source}\n` : ""),
  ]);
}

export function drawStacks(pane, { threads }) {
  pane.classList.remove("ipykill-empty-pane");
  pane.replaceChildren(
    ...threads.flatMap(({ name, depth, hindrance, stack }) => {
      const margin = "  ".repeat(depth); // a thread is indented below the one that started it
      const why = hindrance ? `: ${hindrance}` : "";
      const title = make("div", "ipykill-thread", {}, `${margin}${name}${why}\n`);
      return [title, ...stackElements(stack, margin)];
    }),
  );
}

export function drawProcesses(pane, { processes }) {
  pane.classList.remove("ipykill-empty-pane");
  const lines = processes.map(
    ({ pid, command, running }) => `${pid}  ${command}${running ? "" : "  (it has ended)"}`,
  );
  setText(pane, lines.join("\n"));
}

export function drawError(pane, { error }) {
  pane.classList.remove("ipykill-empty-pane");
  const words = error.message ? `${error.type}: ${error.message}\n` : `${error.type}\n`;
  pane.replaceChildren(make("div", "ipykill-error", {}, words), ...stackElements(error.stack));
}
