// What can be found out about a page's accessibility by looking at its elements. Returns sentences, none if all is well.
const problems = [];
const shown = (element) => element.getClientRects().length > 0 && getComputedStyle(element).visibility !== "hidden";
const say = (element, what) => problems.push(`${what}: ${element.outerHTML.slice(0, 120)}`);

function name(element) {
  const by = element.getAttribute("aria-labelledby");
  if (by) return by.split(" ").map((id) => document.getElementById(id)?.textContent ?? "").join(" ").trim();
  const label = element.getAttribute("aria-label") ?? [...(element.labels ?? [])].map((one) => one.textContent).join(" ");
  return (label || (element.tagName === "INPUT" ? "" : element.textContent)).trim();
}

// --- names, roles, structure
for (const element of document.querySelectorAll("button, a[href], input, dialog, section, [role=region], [role=group], [tabindex='0']")) {
  if (shown(element) && !name(element)) say(element, "no name");
}
for (const image of document.querySelectorAll("img")) if (!image.hasAttribute("alt")) say(image, "no alt");
for (const svg of document.querySelectorAll("svg")) if (svg.getAttribute("aria-hidden") !== "true") say(svg, "neither hidden nor named");
const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
for (const id of ids.filter((one, i) => ids.indexOf(one) !== i)) problems.push(`id ${id} is there twice`);
for (const [what, css] of [["language", "html[lang]"], ["title", "title:not(:empty)"], ["main", "main"], ["viewport", "meta[name=viewport]"]]) {
  if (document.querySelectorAll(css).length !== 1) problems.push(`not one ${what}`);
}
const heads = [...document.querySelectorAll("h1, h2, h3")].filter(shown).map((head) => Number(head.tagName[1]));
if (heads.filter((level) => level === 1).length !== 1) problems.push(`not one h1 but ${heads}`);

// --- contrast (WCAG 1.4.3, 1.4.11)
function colour(text) {
  const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number);
  return { r, g, b, a };
}
function over(top, below) {
  const mix = (x, y) => x * top.a + y * (1 - top.a);
  return { r: mix(top.r, below.r), g: mix(top.g, below.g), b: mix(top.b, below.b), a: 1 };
}
function behind(element) {
  const layers = [];
  for (let one = element; one; one = one.parentElement) {
    const style = getComputedStyle(one);
    layers.push(colour(style.backgroundColor));
    if (style.backgroundImage !== "none") {
      for (const part of style.backgroundImage.match(/rgba?\([^)]*\)/g) ?? []) if (colour(part).a > 0) layers[layers.length - 1] = colour(part);
    }
    if (layers[layers.length - 1].a === 1) break;
  }
  return layers.reverse().reduce((below, top) => over(top, below), { r: 255, g: 255, b: 255, a: 1 });
}
function light({ r, g, b }) {
  const [x, y, z] = [r, g, b].map((value) => (value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  return 0.2126 * x + 0.7152 * y + 0.0722 * z;
}
function contrast(one, two) {
  const [a, b] = [light(one), light(two)].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
}
for (const element of document.querySelectorAll("body *")) {
  const words = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
  if (!words || !shown(element) || element.matches(":disabled, .unseen, .skip, noscript *") || element.closest(":disabled")) continue;
  const style = getComputedStyle(element), below = behind(element);
  const ratio = contrast(over(colour(style.color), below), below);
  const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && Number(style.fontWeight) >= 700);
  if (ratio < (large ? 3 : 4.5)) say(element, `contrast of text ${ratio.toFixed(2)}`);
}
for (const element of document.querySelectorAll("button:not(.link), input:not([type=checkbox]), .square, .chip")) {
  if (!shown(element) || element.disabled) continue;
  const ratio = contrast(colour(getComputedStyle(element).borderTopColor), behind(element.parentElement));
  if (ratio < 3) say(element, `contrast of edge ${ratio.toFixed(2)}`);
}

// --- what fingers need (WCAG 2.5.8), and that nothing sticks out at the side
for (const element of document.querySelectorAll("button")) {
  const box = element.getBoundingClientRect();
  if (shown(element) && (box.width < 24 || box.height < 24)) say(element, `only ${box.width} x ${box.height}`);
}
if (document.documentElement.scrollWidth > document.documentElement.clientWidth) {
  problems.push(`${document.documentElement.scrollWidth} pixels wide on ${document.documentElement.clientWidth}`);
}
return problems;
