// Elements. All text goes through text nodes, so nothing that a node says can become markup.

const SVG = "http://www.w3.org/2000/svg";

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null).map((child) => (child instanceof Node ? child : String(child))));
  return element;
}

/** An HTML element with attributes, handlers (`onclick`) and children. */
export const el = (name, attributes = {}, ...children) => filled(document.createElement(name), attributes, children);

/** An SVG element. */
export const svg = (name, attributes = {}, ...children) => filled(document.createElementNS(SVG, name), attributes, children);

/** Set the text of an element, if it is another one. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Set an attribute, if it is another one; null takes it away. */
export function put(element, name, value) {
  if (value == null || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/**
 * Have `parent` hold an element for each item, in order. Elements stay those of their keys, and the focus stays
 * on its element.
 */
export function keyed(parent, items, key, make, update) {
  const before = parent.elements ?? new Map();
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  parent.elements = new Map();
  let next = parent.firstChild;
  for (const [number, item] of items.entries()) {
    const id = key(item, number);
    const element = before.get(id) ?? make(item);
    before.delete(id);
    parent.elements.set(id, element);
    update(element, item, number);
    if (element === next) next = next.nextSibling;
    else parent.insertBefore(element, next);
  }
  for (const element of before.values()) element.remove();
  if (focused?.isConnected && document.activeElement !== focused) focused.focus({ preventScroll: true });
}

/** Have the arrow keys, home and end move the focus among the elements that `list` gives. */
export function moveWithKeys(event, list, page = 10) {
  const elements = list();
  const at = elements.indexOf(document.activeElement);
  const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
  const step = steps[event.key];
  if (at < 0 || step === undefined || event.ctrlKey || event.altKey || event.metaKey) return false;
  elements[Math.max(0, Math.min(elements.length - 1, at + step))].focus();
  event.preventDefault();
  return true;
}
