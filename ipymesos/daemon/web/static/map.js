// The agents with their packs and engines, as a map and as a table.

import { amount, attribute, clock, each, h, measure, megabytes, percent, plural, span, tail, text } from "./dom.js";

const $ = (id) => document.getElementById(id);
const DENSE = 160; // engines from which on a square is a small one, without its number
const SLOTS = 60; // squares for engines that have no place yet
const LOOKS = {
  idle: "Idle", busy: "Busy", coming: "Starting", moving: "Moving to the new controller", ending: "Ending", lost: "Unreachable",
  none: "Not placed yet",
};

export function legend() {
  $("legend").append(...Object.entries(LOOKS).map(([look, name]) => h("li", {}, h("span", { class: "square", "data-look": look, "aria-hidden": "true" }), name)),
    h("li", {}, h("span", { class: "gauges", "aria-hidden": "true" }, h("i", { class: "cpu" }), h("i", { class: "mem" })), "CPU and memory, of what was asked for"));
}

// What is known of one engine, in words: for screen readers, tips and the table.
export function describe(model, task) {
  const look = model.look(task), load = model.loads.get(task.task), seconds = load?.since ? model.now - load.since : model.now - task.since;
  const doing = look === "busy" ? `busy for ${span(seconds)}` : look === "idle" ? (load ? `idle for ${span(seconds)}` : "running")
    : `${LOOKS[look].toLowerCase()} for ${span(model.now - task.since)}`;
  return { look, load, doing, cpu: percent(load?.cpu), memory: megabytes(load?.memory), work: model.work(task) };
}

export function title(task) {
  if (task.group === "controller") return "Controller";
  return task.engine_id === null ? `New engine (${task.task})` : `Engine ${task.engine_id}`;
}

export function map(model, show) {
  const tasks = [...model.controllers, ...model.engines];
  const byAgent = new Map(model.agents.map((agent) => [agent.id, { ...agent, packs: new Map(), engines: 0 }]));
  for (const task of tasks) {
    let agent = byAgent.get(task.agent_id);
    if (!agent) byAgent.set(task.agent_id, (agent = { id: task.agent_id, host: task.agent, refusals: [], packs: new Map(), engines: 0 }));
    if (!agent.packs.has(task.container)) agent.packs.set(task.container, []);
    agent.packs.get(task.container).push(task);
    agent.engines += task.group !== "controller";
  }
  const missing = Object.entries(model.cluster.sets).flatMap(([name, set]) => {
    const here = model.engines.filter((task) => task.group === name && model.look(task) !== "ending" && model.look(task) !== "lost").length;
    return set.wanted > here && model.cluster.state !== "stopping" ? [{ name, n: set.wanted - here }] : [];
  });
  const agents = [...byAgent.values()].sort((a, b) => (b.packs.size > 0) - (a.packs.size > 0) || a.host.localeCompare(b.host, undefined, { numeric: true }) || a.id.localeCompare(b.id));
  const items = [...missing.map((item) => ({ id: `missing ${item.name}`, missing: item })), ...agents];
  if (!items.length) items.push({ id: "nothing", nothing: true });
  attribute($("map"), "data-dense", tasks.length > DENSE);
  each($("map"), items, (item) => item.id, (item) => (item.nothing ? h("p", { class: "muted empty" }) : item.missing ? slots() : card()), (element, item) => {
    if (item.nothing) text(element, model.cluster.connected ? "No agent has been offered yet." : "There is no Mesos master, so no agents are known.");
    else if (item.missing) updateSlots(element, item.missing);
    else updateCard(element, item, model, show);
  });
  rove();
}

function slots() {
  return h("article", { class: "agent missing" }, h("h3"), h("div", { class: "squares", "aria-hidden": "true" }));
}

function updateSlots(element, { name, n }) {
  text(element.firstChild, `${plural(n, "engine")} of “${name}” without a place`);
  const squares = Array.from({ length: Math.min(n, SLOTS) }, (_, i) => i);
  each(element.lastChild, squares, (i) => i, () => h("span", { class: "square", "data-look": "none" }), () => {});
}

function card() {
  return h("article", { class: "agent" }, h("div", { class: "row" }, h("h3"), h("span", { class: "muted" })), h("p", { class: "warning" }), h("div", { class: "packs" }), h("ul", { class: "refusals" }));
}

function updateCard(element, agent, model, show) {
  const [head, warning, packs, refusals] = element.children;
  text(head.firstChild, `${agent.host} ${tail(agent.id)}`);
  const size = agent.cpus === undefined ? "" : `${amount(agent.cpus)} CPU, ${megabytes(agent.memory)}`;
  text(head.lastChild, [agent.engines ? plural(agent.engines, "engine") : "", size].filter(Boolean).join(" · "));
  const drain = agent.draining ? `Is taken away from ${clock(agent.draining)} on: what runs here is replaced elsewhere.` : "";
  text(warning, drain || (agent.failing ? `Left alone for a while: ${agent.failing}.` : ""));
  warning.hidden = !warning.textContent;
  each(packs, [...agent.packs], ([name]) => name, ([name, tasks]) => {
    const controller = tasks[0].group === "controller";
    const said = controller ? "controller" : `pack ${tail(name)}`;
    return h("div", { class: "pack", role: "group", "aria-label": `${said} on ${agent.host}` }, h("p", { class: "muted" }), h("div", { class: "squares" }));
  }, (pack, [name, tasks]) => {
    const used = tasks.reduce((sum, task) => sum + (model.loads.get(task.task)?.memory ?? 0), 0);
    const kind = tasks[0].group === "controller" ? "controller" : `pack ${tail(name)} of ${tasks[0].group}`;
    text(pack.firstChild, used ? `${kind} · ${megabytes(used)}` : kind);
    each(pack.lastChild, tasks, (task) => task.task, (task) => square(task, show), (cell, task) => updateSquare(cell, task, model));
  });
  each(refusals, agent.packs.size || model.explain.groups.length ? agent.refusals : [], (said) => said.group, () => h("li"), (item, said) => {
    text(item, `${said.group === "controller" ? "The controller" : `“${said.group}”`} needs ${said.wanted}; it offered ${said.offered}`);
  });
}

function square(task, show) {
  return h("button", { type: "button", class: "square", "data-task": task.task, tabindex: -1, onclick: () => show(task.task) },
    h("span"), h("i", { class: "cpu" }), h("i", { class: "mem" }));
}

function updateSquare(cell, task, model) {
  const load = model.loads.get(task.task), set = model.cluster.sets[task.group], look = model.look(task);
  const cpu = percent(load?.cpu), memory = megabytes(load?.memory);
  const seen = [look, task.engine_id, cpu, memory, set?.cpus, set?.memory].join();
  if (cell.seen === seen) return; // of a thousand engines most do what they did
  cell.seen = seen;
  attribute(cell, "data-look", look);
  text(cell.firstChild, task.group === "controller" ? "C" : task.engine_id === null ? "" : String(task.engine_id));
  measure(cell.children[1], "--share", (load?.cpu ?? 0) / (set?.cpus ?? 1));
  measure(cell.children[2], "--share", set?.memory ? (load?.memory ?? 0) / set.memory : 0);
  const words = `${title(task)}, ${LOOKS[look].toLowerCase()}${load ? `, ${cpu} CPU, ${memory}` : ""}`;
  attribute(cell, "aria-label", words);
  attribute(cell, "title", words);
}

// One stop of the Tab key for the whole map; arrows move between the engines, Home and End to the first and last one.
function rove() {
  const cells = $("map").querySelectorAll("button.square");
  const current = $("map").contains(document.activeElement) ? document.activeElement : $("map").querySelector('button.square[tabindex="0"]') ?? cells[0];
  for (const cell of cells) attribute(cell, "tabindex", cell === current ? 0 : -1);
}

export function arrows() {
  $("map").addEventListener("keydown", (event) => {
    const cells = [...$("map").querySelectorAll("button.square")], at = cells.indexOf(document.activeElement);
    if (at < 0) return;
    const next = { ArrowRight: cells[at + 1], ArrowLeft: cells[at - 1], Home: cells[0], End: cells[cells.length - 1] }[event.key]
      ?? (event.key === "ArrowDown" || event.key === "ArrowUp" ? below(cells, cells[at], event.key === "ArrowDown" ? 1 : -1) : undefined);
    if (!next) return;
    event.preventDefault();
    next.focus();
    rove();
  });
}

// The nearest cell of the next row in this direction.
function below(cells, from, direction) {
  const start = from.getBoundingClientRect();
  const boxes = cells.map((cell) => [cell, cell.getBoundingClientRect()]).filter(([, box]) => (box.top - start.top) * direction > start.height / 2);
  const distance = ([, box]) => Math.abs(box.top - start.top) * 4 + Math.abs(box.left - start.left);
  return boxes.sort((a, b) => distance(a) - distance(b))[0]?.[0];
}

// --- the table

const COLUMNS = ["Engine", "Set", "Does", "CPU", "Memory", "Queue", "Agent", "Since"];

export function table(model, show) {
  const place = $("table");
  if (!place.firstChild) {
    place.append(h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table of engines" }, h("table", {},
      h("caption", { class: "unseen" }, "Engines"), h("thead", {}, h("tr", {}, ...COLUMNS.map((name) => h("th", { scope: "col" }, name)))), h("tbody"))));
  }
  each(place.querySelector("tbody"), model.engines, (task) => task.task, (task) => h("tr", {}, h("th", { scope: "row" },
    h("button", { type: "button", class: "link", onclick: () => show(task.task) })), ...COLUMNS.slice(1).map(() => h("td"))), (row, task) => {
    const said = describe(model, task);
    text(row.firstChild.firstChild, title(task));
    attribute(row.children[2], "data-look", said.look);
    const cells = [task.group, said.doing, said.cpu, said.memory, String(said.work[0] + said.work[1]), `${task.agent} ${tail(task.agent_id)}`, span(model.now - task.since)];
    cells.forEach((value, i) => text(row.children[i + 1], value));
  });
}
