// Buttons with the number of jobs in each state; a click shows only the jobs in that state.

import { STATES } from "./words.js";
import { button, icon, make, setAttribute, setText } from "./elements.js";

// `states` is the set of chosen states, which a click changes.
export function makeChips(states, changed) {
  const chips = Object.keys(STATES).map((state) => {
    const chip = button("", "", () => {
      if (!states.delete(state)) states.add(state);
      changed();
    }, "ipykill-chip");
    chip.dataset.state = state;
    chip.title = `Show only jobs in the state “${state}”`;
    chip.append(make("span", "ipykill-icon", {}, icon(STATES[state][0])), make("span"));
    return chip;
  });
  return make("div", "ipykill-chips", { role: "group", "aria-label": "Jobs by state" }, ...chips);
}

export function drawChips(chips, counts, states) {
  for (const chip of chips.children) {
    const { state } = chip.dataset;
    chip.hidden = !counts[state] && !states.has(state);
    setText(chip.lastChild, `${counts[state] ?? 0} ${state}`);
    setAttribute(chip, "aria-pressed", states.has(state));
  }
}
