// What all views share: elements made and kept up to date, and numbers in words.
// Nothing is ever set as HTML: whatever a cluster, an agent or an image is called stays text.

export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else attribute(element, name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function attribute(element, name, value) {
  if (value === false || value === null || value === undefined) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value === true ? "" : value);
}

export function text(element, value) {
  if (element.textContent !== value) element.textContent = value;
}

// A custom property, for the style sheet to make a width or a height of.
export function measure(element, name, share) {
  const value = Math.min(1, Math.max(0, share || 0)).toFixed(3);
  if (element.style.getPropertyValue(name) !== value) element.style.setProperty(name, value);
}

// Let `parent` have one child for each item, in this order; those that stay are updated and keep the focus.
export function each(parent, items, key, make, update) {
  const kept = parent.made ?? (parent.made = new Map());
  const wanted = new Set();
  let before = parent.firstChild;
  for (const item of items) {
    const name = key(item);
    wanted.add(name);
    let element = kept.get(name);
    if (!element) kept.set(name, (element = make(item)));
    if (element === before) before = before.nextSibling;
    else parent.insertBefore(element, before);
    update(element, item);
  }
  for (const [name, element] of kept) {
    if (!wanted.has(name)) {
      element.remove();
      kept.delete(name);
    }
  }
}

export function span(seconds) {
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60]]) {
    if (seconds >= 2 * size) return `${Math.round(seconds / size)} ${unit}`;
  }
  return `${Math.max(0, Math.round(seconds))} s`;
}

export function megabytes(mb) {
  if (mb === null || mb === undefined) return "–";
  if (mb >= 1024 * 10) return `${Math.round(mb / 1024)} GB`;
  return mb >= 1024 ? `${(mb / 1024).toFixed(1)} GB` : `${Math.round(mb)} MB`;
}

export function percent(share) {
  return share === null || share === undefined ? "–" : `${Math.round(share * 100)} %`;
}

export function amount(value, digits = 1) {
  if (value >= 10000) return `${Math.round(value / 1000)}k`;
  return Number.isInteger(value) || value >= 100 ? String(Math.round(value)) : value.toFixed(digits);
}

export function plural(n, word) {
  return `${n} ${word}${n === 1 ? "" : "s"}`;
}

export function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
}

// The last part of one of Mesos' long ids: "S3" of an agent, "pack-e-2" of a container as it is.
export function tail(id) {
  return id.slice(id.lastIndexOf("-") + 1);
}
