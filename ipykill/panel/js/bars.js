// How far a job is: a bar, and below it a thinner one for its inner bar.

import { duration, isOver, titleOf } from "./words.js";
import { make, setAttribute, setText } from "./elements.js";

// The parts of the text; where there is no room for all, the style leaves out "of" and shrinks "what".
const parts = ({ done, total, description, left }, over) => [
  ["what", description],
  ["part", total ? `${Math.floor(Math.min(done / total, 1) * 100)} %` : ""],
  ["of", total ? `${done} of ${total}` : ""],
  ["done", total ? "" : String(done)],
  ["left", left && !over ? `${duration(left)} left` : ""],
].filter(([, text]) => text);

const words = (progress, over) => parts(progress, over).map(([, text]) => text).join(" · ");

export class ProgressBars {
  constructor() {
    this.bar = make("div", "ipykill-bar", { role: "progressbar" }, make("div"));
    this.inner = make("div", "ipykill-bar ipykill-inner-bar", { role: "progressbar" }, make("div"));
    this.text = make("span", "ipykill-bar-text");
    const bars = make("div", "ipykill-bars", {}, this.bar, this.inner);
    this.el = make("div", "ipykill-progress", {}, bars, this.text);
  }

  draw(job) {
    const { progress } = job;
    this.el.hidden = !progress;
    if (!progress) return;
    const over = isOver(job);
    this.drawBar(this.bar, progress, over, `Progress of ${titleOf(job)}`);
    const { inner } = progress;
    this.inner.hidden = !inner || over;
    if (inner && !over) this.drawBar(this.inner, inner, over, `Inner progress of ${titleOf(job)}`);
    this.drawText(parts(progress, over));
    const title = [progress, !over && inner].filter(Boolean).map((it) => words(it, over));
    setAttribute(this.el, "title", title.join("\n"));
  }

  drawText(texts) {
    const { children } = this.text;
    const all = texts.flatMap((it, index) => (index ? [["dot", " · "], it] : [it]));
    while (children.length > all.length) this.text.lastChild.remove();
    while (children.length < all.length) this.text.append(make("span"));
    for (const [index, [kind, text]] of all.entries()) {
      setAttribute(children[index], "class", `ipykill-bar-${kind}`);
      setText(children[index], text);
    }
  }

  drawBar(bar, { done, total }, over, label) {
    const part = total ? Math.min(done / total, 1) : null;
    bar.hidden = part === null && over;
    bar.classList.toggle("ipykill-endless", part === null);
    bar.firstChild.style.width = part === null ? "" : `${part * 100}%`;
    setAttribute(bar, "aria-label", label);
    setAttribute(bar, "aria-valuenow", part === null ? null : Math.round(part * 100));
  }
}
