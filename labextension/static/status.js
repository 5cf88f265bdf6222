// The item of the status bar: how many jobs of the current kernel are not over, and how many have failed.

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
    const live = kernels.link?.running ?? [];
    const running = live.length;
    const failed = kernels.link?.failed.length ?? 0;
    // Not `hide()`: the layout of the status bar would show it again.
    status.toggleClass("ipykill-status-none", !status.wanted || !(running || failed));
    const words = [...count(running, `▶`), ...count(failed, `⚠`)];
    const text = words.map((it) => it.split(" ").reverse().join(" ")).join("  ");
    // In the words and numbers of the panel's head.
    const states = {};
    for (const { state } of live) states[state] = (states[state] ?? 0) + 1;
    const parts = Object.entries(states).map(([state, n]) => `${n} ${state}`);
    const one = running === 1;
    const jobs = `background job${one ? " is" : "s are"} not over yet (${parts.join(", ")})`;
    const said = [...count(running, jobs), ...count(failed, "failed")].join(", ");
    if (button.title.startsWith(`${said};`)) return;
    button.textContent = text;
    button.title = `${said}; click to show`;
    button.setAttribute("aria-label", `${said}: show background jobs`);
  };
  kernels.listeners.add((link) => (!link || link === kernels.link) && status.draw());
  status.draw();
  return status;
}
