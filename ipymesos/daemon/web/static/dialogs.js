// What is asked before something changes, and all that is known of one engine.

import { ask } from "./api.js";
import { clock, h, plural, span, text } from "./dom.js";
import { describe, title } from "./map.js";

const LOG_LINES = 200;
let number = 0;

// A dialog with a heading, a body and buttons; resolves when it is closed. The browser keeps the focus in it, closes it
// at Escape and gives the focus back.
function dialog(heading, body, buttons, kind = "") {
  const name = `dialog-${(number += 1)}`;
  const element = h("dialog", { "aria-labelledby": name, class: kind }, h("h2", { id: name }, heading), ...body, h("div", { class: "buttons" }, ...buttons));
  document.body.append(element);
  element.addEventListener("close", () => element.remove());
  element.showModal();
  return element;
}

function button(label, kind, onclick) {
  return h("button", { type: "button", class: kind, onclick }, label);
}

// Ask, and do it when it is confirmed; what goes wrong is said there.
function confirm(heading, body, label, act, kind = "primary") {
  const error = h("p", { class: "error", role: "alert" });
  const go = button(label, kind, async () => {
    go.disabled = true;
    text(error, "");
    try {
      await act();
      element.close();
    } catch (problem) {
      text(error, problem.message);
      go.disabled = false;
    }
  });
  const cancel = button("Cancel", "", () => element.close());
  const element = dialog(heading, [...body, error], [cancel, go]);
  return { element, go, cancel };
}

export function stop(model, done) {
  const n = model.engines.length;
  const { cancel } = confirm(`Stop ${model.cluster.name}?`,
    [h("p", {}, `The controller and ${plural(n, "engine")} end, and with them everything that they hold in memory.`)],
    "Stop the cluster", async () => {
      await ask("POST", "stop", { reason: "asked to on the dashboard" });
      done("The cluster is stopping.");
    }, "danger");
  cancel.focus();
}

export function scale(model, name, done) {
  const now = model.cluster.sets[name].wanted;
  const input = h("input", { id: "scale-n", type: "number", min: 0, max: 10000, step: 1, value: now, inputmode: "numeric" });
  const note = h("p", { class: "muted", "aria-live": "polite" });
  const { go } = confirm(`Scale engine set “${name}”`, [h("label", { for: "scale-n" }, "Engines wanted"), input, note], "Scale", async () => {
    const n = input.valueAsNumber;
    await ask("PUT", `engines/${encodeURIComponent(name)}`, { n });
    done(`Engine set “${name}”: ${plural(n, "engine")} wanted.`);
  });
  const look = () => {
    const n = input.valueAsNumber, good = Number.isInteger(n) && n >= 0 && n <= 10000;
    go.disabled = !good || n === now;
    text(note, !good ? "A whole number from 0 to 10000 is allowed." : n > now ? `${plural(n - now, "more engine")}.`
      : n < now ? `${plural(now - n, "engine")} will end: idle ones first, busy ones finish their work within the time that they have.` : `${plural(now, "engine")} now.`);
  };
  input.addEventListener("input", look);
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !go.disabled) go.click();
  });
  look();
  input.select();
}

function end(model, task, what, done) {
  const set = model.cluster.sets[task.group];
  const work = `It gets ${span(set?.grace ?? 0)} to finish what it does; what it holds in memory is lost.`;
  const then = what === "restart" ? "Another engine takes its place." : `Nothing takes its place: engine set “${task.group}” wants ${Math.max(0, (set?.wanted ?? 1) - 1)} then.`;
  const { cancel } = confirm(`${what === "restart" ? "Restart" : "Retire"} ${title(task).toLowerCase()}?`, [h("p", {}, `${work} ${then}`)],
    what === "restart" ? "Restart it" : "Retire it", async () => {
      await ask("POST", `tasks/${encodeURIComponent(task.task)}/${what}`, {});
      done(`${title(task)} was asked to end.`);
    }, "danger");
  cancel.focus();
}

// All that is known of one task, kept up to date while it is open.
export function details(model, name, done) {
  const facts = h("dl", { class: "facts" });
  const log = h("pre", { class: "log", tabindex: 0, "aria-label": "The end of its log", hidden: true });
  const error = h("p", { class: "error", role: "alert" });
  const act = (what) => () => end(model, model.tasks.get(name), what, done);
  const engine = model.tasks.get(name).group !== "controller";
  const read = button("Log", "", async () => {
    text(error, "");
    try {
      const answer = await ask("GET", `logs/${encodeURIComponent(name)}?tail=${LOG_LINES}`);
      log.hidden = false;
      text(log, answer.text || "It has written nothing.");
      log.scrollTop = log.scrollHeight;
    } catch (problem) {
      text(error, problem.message);
    }
  });
  const buttons = [read, ...(engine ? [button("Restart…", "", act("restart")), button("Retire…", "", act("retire"))] : []), button("Close", "primary", () => element.close())];
  const element = dialog(title(model.tasks.get(name)), [facts, log, error], buttons, "details");
  element.querySelector(".buttons").lastChild.focus();
  const update = () => {
    const task = model.tasks.get(name);
    for (const one of element.querySelectorAll(".buttons button")) if (one.textContent !== "Close" && one !== read) one.disabled = !task || model.look(task) === "ending";
    if (!task) return fill(facts, [["State", "It has ended: see the events."]]);
    const said = describe(model, task), set = model.cluster.sets[task.group];
    fill(facts, [
      ["State", `${said.doing}${task.message ? `: ${task.message}` : ""}`],
      ["CPU", `${said.cpu} of a core${set ? `, ${set.cpus} asked for` : ""}`],
      ["Memory", `${said.memory} resident, pages that its pack shares included${set ? `; ${set.memory} MB asked for` : ""}`],
      ...(engine ? [["Queue", `${said.work[1]} balanced and ${said.work[0]} direct under way`], ["Engine set", task.group]] : []),
      ["Agent", `${task.agent}, ${task.agent_id}`],
      ["Container", task.container],
      ["Mesos task", task.task],
      ["Since", clock(task.since - model.ahead)],
    ]);
  };
  update();
  element.update = update;
  return element;
}

function fill(list, facts) {
  const made = list.made ?? (list.made = new Map());
  for (const [name, value] of facts) {
    if (!made.has(name)) {
      made.set(name, h("dd"));
      list.append(h("div", {}, h("dt", {}, name), made.get(name)));
    }
    text(made.get(name), value);
  }
}
