// The dashboard: lets people in, follows the cluster, and draws what it is told, once per frame at most.

import { Stream, login, loggedIn, logout } from "./api.js";
import { text } from "./dom.js";
import { Model, gravity } from "./model.js";
import * as dialogs from "./dialogs.js";
import * as map from "./map.js";
import * as views from "./views.js";

const $ = (id) => document.getElementById(id);
const SAMPLE = 2500; // ms between two points of a curve
const TICK = 1000; // ms after which what is said with its age is said anew
const model = new Model();
let stream = null, connection = "lost", drawing = false, open = null, view = "map";

function draw() {
  drawing = false;
  if (!model.cluster || !stream) return;
  views.header(model, connection);
  views.figures(model);
  views.reasons(model);
  views.sets(model, (name) => dialogs.scale(model, name, say));
  views.queues(model);
  views.events(model);
  (view === "map" ? map.map : map.table)(model, show);
  if (open?.isConnected) open.update();
}

function tick() {
  if (!model.cluster || !stream || document.hidden) return;
  views.header(model, connection);
  views.reasons(model);
  if (open?.isConnected) open.update();
}

function soon() {
  if (!drawing) requestAnimationFrame(draw);
  drawing = true;
}

function show(task) {
  open = dialogs.details(model, task, say);
}

// For who doesn't see the page, and for all after an action.
function say(words) {
  text($("said"), words);
}

function told(news) {
  const first = !model.events.length, fresh = model.apply(news);
  connection = "live";
  $("head").hidden = $("dashboard").hidden = false;
  const worth = fresh.filter((event) => gravity(event) !== "plain");
  if (!first && worth.length) say(worth[worth.length - 1].text);
  soon();
}

function enter() {
  $("login").hidden = true;
  stream = new Stream({
    told,
    lost: () => { connection = "lost"; soon(); },
    out: () => leave("You have been logged out."),
    after: () => model.seq,
  });
}

function leave(why = "") {
  stream?.close();
  stream = null;
  document.querySelectorAll("dialog").forEach((element) => element.close());
  model.clear();
  model.events = model.samples = [];
  document.title = "ipymesos";
  $("head").hidden = $("dashboard").hidden = true;
  $("login").hidden = false;
  text($("login-error"), why);
  $("token").focus();
}

async function begin() {
  const code = new URLSearchParams(location.hash.slice(1)).get("code");
  if (location.hash) history.replaceState(null, "", location.pathname); // it is good once only, but need not stay there
  try {
    if (code) await login({ code });
    if (code || (await loggedIn())) enter();
    else leave();
  } catch (problem) {
    leave(problem.message);
  }
}

$("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  text($("login-error"), "");
  try {
    await login({ token: $("token").value.trim() });
    $("token").value = "";
    enter();
    $("main").focus();
  } catch (problem) {
    text($("login-error"), problem.message);
    $("token").select();
  }
});
$("logout").addEventListener("click", async () => {
  await logout().catch(() => undefined);
  leave();
});
$("stop").addEventListener("click", () => dialogs.stop(model, say));
$("problems").addEventListener("change", soon);
for (const name of ["map", "table"]) {
  $(`as-${name}`).addEventListener("click", () => {
    view = name;
    for (const other of ["map", "table"]) {
      $(`as-${other}`).setAttribute("aria-pressed", other === name);
      $(other).hidden = other !== name;
    }
    $("legend").hidden = name === "table";
    draw();
  });
}
window.addEventListener("hashchange", () => location.hash.startsWith("#code=") && begin());
setInterval(() => { model.sample(); }, SAMPLE);
setInterval(tick, TICK);
map.legend();
map.arrows();
begin();
