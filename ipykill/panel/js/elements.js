// Makes elements of the page, and changes them only if their content differs.

export function make(tag, className = "", attributes = {}, ...children) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setAttribute(node, name, value) {
  if (value === null) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

const DRAGGED = 24; // px; if the pointer is released farther away, the click does not count

// A button that is pressed gets the click even if output that grows above it moves it away meanwhile.
export function button(text, label, onClick, className = "") {
  const node = make("button", `ipykill-button ${className}`, { type: "button" }, text);
  if (label) node.setAttribute("aria-label", label);
  let pressed = null;
  node.addEventListener("pointerdown", (event) => {
    pressed = event;
    node.setPointerCapture(event.pointerId);
  });
  node.addEventListener("click", (event) => {
    const { clientX: x, clientY: y } = (event.detail > 0 && pressed) || event; // detail 0: a key
    if (Math.hypot(event.clientX - x, event.clientY - y) <= DRAGGED) onClick(event);
  });
  return node;
}

export function icon(path) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const shape = document.createElementNS("http://www.w3.org/2000/svg", "path");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  shape.setAttribute("d", path);
  svg.append(shape);
  return svg;
}
