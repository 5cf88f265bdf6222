// The live views of background jobs: the functions that anywidget and the JupyterLab extension call.
//
// `Jobs` keeps what the kernel has told, and sends requests; `JobView` draws one job; `Panel`
// draws the list. All text of the user's gets into the page as text (`textContent`), never
// as markup. The kernel's side is service.py and feed.py; bundle.py puts these files together.

import { duration, isOver } from "./words.js";
import { make } from "./elements.js";
import { Jobs } from "./jobs.js";
import { keepKeys } from "./keys.js";
import { Offer } from "./foreground.js";
import { Panel } from "./panel.js";
import { Card } from "./card.js";

const panels = (globalThis[Symbol.for("ipykill.panels")] ??= new Map());

function draw(el, className, jobs, makeView) {
  const root = make("div", `ipykill ${className}`);
  const releaseKeys = keepKeys(root);
  el.append(root);
  const view = makeView(root);
  jobs.open(view);
  return () => {
    view.destroy();
    jobs.close(view);
    releaseKeys();
    root.remove();
  };
}

// The JupyterLab extension (labextension/) calls this too, with a model that is like anywidget's.
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
