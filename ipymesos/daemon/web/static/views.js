// Everything on the page but the map: header, figures, reasons for waiting, sets, queues, events.

import { amount, attribute, clock, each, h, measure, megabytes, percent, plural, span, text } from "./dom.js";
import { gravity } from "./model.js";

const $ = (id) => document.getElementById(id);
const SHOWN_EVENTS = 200, LONGEST_QUEUES = 8;
const STATES = { running: "Running", starting: "Starting", stopping: "Stopping" };
const REASONS = {
  role: "reserved for other roles", attributes: "attributes differ", draining: "about to be taken away",
  failing: "launches fail there", cpus: "too little CPU", mem: "too little memory", disk: "too little disk",
  gpus: "too few GPUs", ports: "too few ports",
};

export function header(model, connection) {
  const cluster = model.cluster;
  const name = `${cluster.name}${cluster.cluster_id ? ` · ${cluster.cluster_id}` : ""}`;
  text($("name"), name);
  const waits = model.explain.groups.some((group) => group.why !== "coming" && group.why !== "moving");
  const state = cluster.state !== "stopping" && waits ? "Waiting" : STATES[cluster.state];
  text($("state"), state);
  attribute($("state"), "data-look", { Running: "good", Starting: "coming", Waiting: "coming" }[state] ?? "plain");
  const master = cluster.connected ? `Mesos master ${cluster.master}` : "no Mesos master";
  text($("where").firstChild, master);
  text($("where").lastChild, ` · framework ${cluster.framework_id || "(none yet)"} · scheduler ${cluster.ipymesos}, pid ${cluster.pid}`);
  const ended = connection === "lost" && cluster.state === "stopping";
  text($("live"), { live: "Live", lost: ended ? "Ended" : "Connection lost, trying again" }[connection]);
  attribute($("live"), "data-look", connection === "live" ? "good" : ended ? "plain" : "bad");
  $("stop").disabled = cluster.state === "stopping" || connection !== "live";
  const figures = model.figures();
  document.title = `${figures.running}/${figures.wanted} ${state.toLowerCase()} · ${name}`;
}

// --- key figures

const FIGURES = [
  ["Engines running", (f) => [`${f.running}`, `of ${f.wanted} wanted${f.coming ? `, ${f.coming} coming` : ""}`], (f) => f.running],
  ["Busy", (f) => [`${f.busy}`, f.running ? `${percent(f.busy / f.running)} of the engines` : "no engines"], (f) => f.busy],
  ["CPU", (f) => [f.cpu === null ? "–" : amount(f.cpu), `cores used, ${amount(f.cores)} asked for`], (f) => f.cpu],
  ["Memory", (f) => [megabytes(f.memory), `resident, ${megabytes(f.asked)} asked for`], (f) => f.memory],
  ["Requests waiting", (f) => [f.waiting === null ? "–" : amount(f.waiting), f.under === null ? "for an engine" : `and ${amount(f.under)} under way`], (f) => f.waiting],
  ["Done per second", (f) => [f.rate === null ? "–" : amount(f.rate), f.done === null ? "requests" : `${f.done.toLocaleString("en")} in all`], (f) => f.rate],
];

export function figures(model) {
  const now = model.figures();
  each($("figures"), FIGURES, ([name]) => name, ([name]) => h("div", { class: "figure" },
    h("h3", {}, name), h("p", { class: "value" }), h("p", { class: "muted" }), spark()), (element, [, say, of]) => {
    const [value, more] = say(now);
    text(element.children[1], value);
    text(element.children[2], more);
    draw(element.lastChild, model.samples.map(of));
  });
}

function spark() {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  for (const [name, value] of Object.entries({ viewBox: "0 0 100 24", preserveAspectRatio: "none", "aria-hidden": "true" })) {
    svg.setAttribute(name, value);
  }
  for (const name of ["area", "line"]) {
    const path = document.createElementNS(svg.namespaceURI, "path");
    path.setAttribute("class", name);
    svg.append(path);
  }
  return svg;
}

function draw(svg, values) {
  const most = Math.max(1e-9, ...values.map((value) => value ?? 0));
  const step = 100 / 59, left = 100 - step * (values.length - 1);
  const points = values.map((value, i) => `${(left + i * step).toFixed(1)} ${(23 - 21 * ((value ?? 0) / most)).toFixed(1)}`);
  const line = points.length > 1 && most > 1e-6 ? `M${points.join("L")}` : "";
  attribute(svg.lastChild, "d", line);
  attribute(svg.firstChild, "d", line && `${line}V24H${left.toFixed(1)}Z`);
}

// --- why it waits

export function reasons(model) {
  const groups = model.explain.groups;
  const trouble = model.cluster.error || model.cluster.trouble;
  const alone = !groups.length && model.explain.summary !== "everything that is wanted runs" ? model.explain.summary : "";
  $("waiting").hidden = !groups.length && !trouble && !alone;
  const calm = groups.length && groups.every((group) => group.why === "coming" || group.why === "moving");
  attribute($("waiting"), "data-look", trouble || groups.some((group) => group.why === "failed") ? "bad" : calm || alone ? "plain" : "coming");
  text($("waiting-title"), model.cluster.state === "stopping" ? "It is stopping" : calm ? "On the way" : trouble || alone ? "What is the matter" : "What it waits for");
  const items = [...[trouble, alone].filter(Boolean).map((message) => ({ message })), ...groups];
  each($("reasons"), items, (item) => item.group ?? item.message, () => h("div", { class: "reason" },
    h("h3"), h("p", { class: "message" }), h("p", { class: "hint" }), h("dl", { class: "funnel" }), h("pre")), (element, item) => {
    const [title, message, hint, funnel, words] = element.children;
    title.hidden = !item.group;
    if (item.group) {
      const coming = item.coming ? `, ${item.coming} coming` : "";
      text(title, `${label(item.group)}: ${item.running} of ${item.wanted} running${coming}, waiting for ${span(model.now - item.since)}`);
    }
    text(message, item.message);
    quoted(hint, item.hint ? `What could help: ${item.hint}.` : "");
    hint.hidden = !item.hint;
    const refused = Object.entries(item.refused ?? {}).filter(([, n]) => n > 0);
    funnel.hidden = !refused.length;
    const most = Math.max(1, ...refused.map(([, n]) => n));
    each(funnel, refused, ([name]) => name, ([name]) => h("div", {}, h("dt", {}, REASONS[name] ?? name), h("dd", {}, h("span"))), (row, [, n]) => {
      text(row.lastChild.firstChild, plural(n, "agent"));
      measure(row.lastChild, "--share", n / most);
    });
    text(words, item.words ?? "");
    words.hidden = !item.words;
  });
}

// What stands between backquotes is the name of an option.
function quoted(element, words) {
  if (element.words === words) return;
  element.words = words;
  element.replaceChildren(...words.split("`").map((part, i) => (i % 2 ? h("code", {}, part) : part)));
}

export function label(group) {
  return group === "controller" ? "Controller" : `Engine set “${group}”`;
}

// --- controller and engine sets

export function sets(model, scale) {
  const serving = model.cluster.controller;
  const items = [{ name: "controller", ...serving }, ...Object.entries(model.cluster.sets).map(([name, set]) => ({ name, ...set }))];
  if (items.length === 1) items.push({ name: "" });
  each($("sets"), items, (item) => item.name, (item) => (item.name === "controller" ? aController() : item.name ? aSet(item.name, scale)
    : h("article", { class: "muted" }, "No engines are wanted.")), (element, item) => {
    if (item.name) (item.name === "controller" ? updateController : updateSet)(element, item, model);
  });
}

function aController() {
  return h("article", {}, h("div", { class: "row" }, h("h3", {}, "Controller"), h("span", { class: "chip" })), h("p", { class: "muted" }), h("p", { class: "message" }));
}

function updateController(element, item, model) {
  const load = model.loads.get(item.task);
  text(element.children[0].children[1], item.state);
  attribute(element.children[0].children[1], "data-look", look(item.state));
  const ports = item.ports.length ? `, ports ${item.ports[0]}–${item.ports[item.ports.length - 1]}` : "";
  const used = load ? ` · ${load.cpu === null ? "" : `${percent(load.cpu)} CPU, `}${megabytes(load.memory)}` : "";
  text(element.children[1], item.task ? `on ${item.agent} (${item.host}${ports})${used}` : "not launched yet");
  text(element.children[2], item.state === "running" ? "" : item.message);
}

function aSet(name, scale) {
  return h("article", { "data-set": name },
    h("div", { class: "row" }, h("h3", {}, label(name)), h("span", { class: "chip" }),
      h("button", { type: "button", "aria-label": `Scale engine set ${name}`, onclick: () => scale(name) }, "Scale…")),
    h("div", { class: "meter", "aria-hidden": "true" }, h("span", { class: "running" }), h("span", { class: "coming" })),
    h("p", { class: "muted" }), h("p", { class: "message" }));
}

function updateSet(element, item, model) {
  const [row, meter, more, message] = element.children;
  text(row.children[1], item.state);
  attribute(row.children[1], "data-look", look(item.state));
  row.children[2].disabled = item.state === "stopping" || model.cluster.state === "stopping";
  const coming = model.engines.filter((task) => task.group === item.name && ["coming", "moving"].includes(model.look(task))).length;
  const all = Math.max(item.wanted, item.running + coming, 1);
  measure(meter.children[0], "--share", item.running / all);
  measure(meter.children[1], "--share", coming / all);
  const where = item.image || (item.container === "process" ? "plain processes" : item.container);
  const count = `${item.running} of ${item.wanted} running`;
  text(more, item.cpus === undefined ? "wanted no more" : `${count} · each ${amount(item.cpus)} CPU, ${megabytes(item.memory)} · ${where}`);
  text(message, item.message);
}

function look(state) {
  return { running: "good", failed: "bad", unreachable: "bad" }[state] ?? (["stopping", "killing"].includes(state) ? "plain" : "coming");
}

// --- queues

export function queues(model) {
  const told = model.queues;
  const longest = told ? Object.entries(told.engines).map(([id, [direct, balanced]]) => ({ id, direct, balanced, all: direct + balanced }))
    .sort((a, b) => b.all - a.all || a.id - b.id) : [];
  const head = { name: "head", text: !told ? (model.cluster.controller.state === "running" ? "Asking the controller…" : "There is no controller to ask.")
    : !told.waiting && !longest.length ? "Nothing waits and nothing is under way."
      : told.waiting ? `${plural(told.waiting, "request")} ${told.waiting === 1 ? "waits" : "wait"} for an engine.` : "No request waits for an engine." };
  const rest = longest.length > LONGEST_QUEUES ? [{ name: "rest", text: `and ${plural(longest.length - LONGEST_QUEUES, "more engine")} with work` }] : [];
  const most = Math.max(1, ...longest.map((item) => item.all));
  each($("queues"), [head, ...longest.slice(0, LONGEST_QUEUES), ...rest], (item) => item.name ?? item.id, (item) => (item.name
    ? h("p", { class: "muted" }) : h("div", { class: "queue" }, h("span"), h("span", { class: "bar" }), h("span", { class: "muted" }))), (element, item) => {
    if (item.name) return text(element, item.text);
    text(element.children[0], `Engine ${item.id}`);
    measure(element.children[1], "--share", item.all / most);
    const parts = [item.balanced && `${item.balanced} balanced`, item.direct && `${item.direct} direct`];
    text(element.children[2], parts.filter(Boolean).join(", "));
  });
}

// --- events

export function events(model) {
  const only = $("problems").checked;
  const shown = model.events.filter((event) => !only || ["bad", "slow"].includes(gravity(event))).slice(0, SHOWN_EVENTS);
  each($("events"), shown.length ? shown : [{ seq: 0, text: only ? "No problems." : "Nothing yet.", kind: "", at: "" }], (event) => event.seq, (event) => {
    const at = event.at ? Date.parse(event.at) / 1000 : 0;
    return h("li", { "data-look": gravity(event) }, h("time", { datetime: event.at, title: event.at }, at ? clock(at) : ""), h("span", {}, event.text));
  }, () => {});
}
