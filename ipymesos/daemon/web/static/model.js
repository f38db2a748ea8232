// What the stream has told so far, and what follows from it. No element is touched here.

const KEPT = 500; // events
const SAMPLES = 60; // of each figure
const PROBLEMS = new Set([
  "trouble", "master_lost", "framework_removed", "controller_unreachable", "engines_unreachable",
  "back_off", "gave_up", "agent_failing", "agent_lost",
]);
const GOOD = new Set(["controller_running", "engines_running", "engines_moved", "trouble_over", "waiting_over"]);

export class Model {
  constructor() {
    this.events = [];
    this.samples = [];
    this.ahead = 0; // seconds by which the scheduler's clock is ahead of ours
    this.clear();
  }

  clear() {
    this.known = {}; // what follows from the rest, until the next message
    this.cluster = null;
    this.tasks = new Map();
    this.loads = new Map();
    this.agents = [];
    this.explain = { groups: [], summary: "" };
    this.queues = null;
    this.rate = null; // requests done per second
  }

  get seq() {
    return this.events.length ? this.events[0].seq : 0;
  }

  get now() {
    return Date.now() / 1000 + this.ahead;
  }

  // Take in one message; returns the events that are new.
  apply(news) {
    if (news.first) this.clear();
    this.known = {};
    this.ahead = news.now - Date.now() / 1000;
    for (const kind of ["cluster", "agents", "explain"]) if (news[kind]) this[kind] = news[kind];
    for (const task of news.tasks?.changed ?? []) this.tasks.set(task.task, task);
    for (const task of news.tasks?.gone ?? []) {
      this.tasks.delete(task);
      this.loads.delete(task);
    }
    for (const [task, [since, works, memory, cpu]] of Object.entries(news.load ?? {})) {
      const before = this.loads.get(task);
      this.loads.set(task, { since, works, memory, cpu: cpu ?? before?.cpu ?? null });
    }
    if (news.queues) {
      const old = this.queues, seconds = old ? news.queues.at - old.at : 0;
      this.rate = seconds > 0 ? Math.max(0, news.queues.done - old.done) / seconds : null;
      this.queues = news.queues;
    }
    const fresh = (news.events ?? []).filter((event) => event.seq > this.seq);
    this.events = [...fresh.reverse(), ...this.events].slice(0, KEPT);
    return fresh;
  }

  get engines() {
    return (this.known.engines ??= [...this.tasks.values()].filter((task) => task.group !== "controller").sort(byEngine));
  }

  get controllers() {
    return [...this.tasks.values()].filter((task) => task.group === "controller");
  }

  // idle | busy | coming | moving | ending | lost
  look(task) {
    if (task.state === "ending" || task.state === "killing") return "ending";
    if (task.state === "unreachable") return "lost";
    if (task.state !== "running") return "coming";
    const home = this.cluster.controller; // without it nobody can use an engine
    if (task.group !== "controller" && task.controller !== home.task) return "moving";
    if (home.state !== "running") return "coming";
    return this.loads.get(task.task)?.works ? "busy" : "idle";
  }

  work(task) {
    return (task.engine_id !== null && this.queues?.engines[task.engine_id]) || [0, 0];
  }

  figures() {
    return (this.known.figures ??= this.count());
  }

  count() {
    const engines = this.engines;
    const looks = engines.map((task) => this.look(task));
    const sum = (of) => engines.reduce((total, task) => total + (this.loads.get(task.task)?.[of] ?? 0), 0);
    const sets = Object.values(this.cluster?.sets ?? {});
    const known = engines.some((task) => this.loads.has(task.task));
    return {
      wanted: sets.reduce((total, set) => total + set.wanted, 0),
      running: sets.reduce((total, set) => total + set.running, 0),
      coming: looks.filter((look) => look === "coming" || look === "moving").length,
      busy: looks.filter((look) => look === "busy").length,
      cores: sets.reduce((total, set) => total + set.running * (set.cpus ?? 0), 0),
      asked: sets.reduce((total, set) => total + set.running * (set.memory ?? 0), 0),
      cpu: known ? sum("cpu") : null,
      memory: known ? sum("memory") : null,
      waiting: this.queues?.waiting ?? null,
      under: this.queues ? Object.values(this.queues.engines).reduce((n, [a, b]) => n + a + b, 0) : null,
      done: this.queues?.done ?? null,
      rate: this.rate,
      agents: new Set(engines.map((task) => task.agent_id)).size,
      packs: new Set(engines.map((task) => task.container)).size,
    };
  }

  sample() {
    if (this.cluster) this.samples = [...this.samples, this.figures()].slice(-SAMPLES);
  }
}

export function gravity(event) {
  if (PROBLEMS.has(event.kind) || (event.kind.endsWith("_ended") && event.asked === false)) return "bad";
  if (event.kind === "waiting") return "slow";
  return GOOD.has(event.kind) ? "good" : "plain";
}

function byEngine(a, b) {
  const one = a.engine_id ?? 1e9, two = b.engine_id ?? 1e9;
  return one - two || serial(a) - serial(b);
}

// The number in a task's id grows with each launch.
function serial(task) {
  return Number(task.task.slice(task.task.lastIndexOf("-") + 1));
}
