// The item of the status bar: how many jobs of the current kernel run, and how many have failed.

const count = (n, words) => (n ? [`${n} ${words}`] : []);

export function makeStatus({ widgets }, kernels, show) {
  const status = new widgets.Widget();
  status.id = "ipykill-status";
  status.addClass("ipykill-status");
  const button = document.createElement("button");
  button.type = "button";
  button.addEventListener("click", show);
  status.node.append(button);
  status.wanted = true; // a setting

  status.draw = () => {
    const running = kernels.link?.running.length ?? 0;
    const failed = kernels.link?.failed.length ?? 0;
    // Not `hide()`: the layout of the status bar would show it again.
    status.toggleClass("ipykill-status-none", !status.wanted || !(running || failed));
    const words = [...count(running, `▶`), ...count(failed, `⚠`)];
    const text = words.map((it) => it.split(" ").reverse().join(" ")).join("  ");
    if (button.textContent === text) return;
    const jobs = running === 1 ? "background job runs" : "background jobs run";
    const said = [...count(running, jobs), ...count(failed, "failed")].join(", ");
    button.textContent = text;
    button.title = `${said}; click to show`;
    button.setAttribute("aria-label", `${said}: show background jobs`);
  };
  kernels.listeners.add((link) => (!link || link === kernels.link) && status.draw());
  status.draw();
  return status;
}
