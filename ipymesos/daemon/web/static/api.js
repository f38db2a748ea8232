// The REST API and the stream. The cookie that opens what is shown is out of reach of this program; the word that
// lets it change something is kept where only pages of this very address can read it.

const WORD = "ipymesos-word";
const SOONEST = 1000, LATEST = 15000; // ms until a connection that was refused is tried again
const UNSEEN = 30000; // ms after which a page that nobody sees lets its stream go

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export async function ask(method, path, body) {
  const headers = { "X-IPyMesos-Word": localStorage.getItem(WORD) ?? "" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(`/api/v1/${path}`, {
      method, headers, body: body === undefined ? undefined : JSON.stringify(body), credentials: "same-origin",
    });
  } catch {
    throw new Refused(0, "The scheduler doesn’t answer.");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(response.status, answer.error ?? response.statusText);
  return answer;
}

export async function login(secret) {
  const { word } = await ask("POST", "login", secret);
  localStorage.setItem(WORD, word);
}

export async function loggedIn() {
  return localStorage.getItem(WORD) !== null && (await ask("GET", "login")).logged_in;
}

export async function logout() {
  try {
    await ask("DELETE", "login");
  } finally {
    localStorage.removeItem(WORD);
  }
}

// Follows the cluster for as long as somebody sees the page. `told` gets each message, `lost` is called when the
// connection has gone (and is tried again), `out` when we are not logged in any more.
export class Stream {
  constructor({ told, lost, out, after }) {
    Object.assign(this, { told, lost, out, after });
    this.patience = SOONEST;
    this.open = true;
    document.addEventListener("visibilitychange", (this.seen = () => this.look()));
    this.connect();
  }

  connect() {
    clearTimeout(this.timer);
    this.source = new EventSource(`/api/v1/stream?after=${this.after()}`);
    this.source.onmessage = (message) => {
      this.patience = SOONEST;
      this.told(JSON.parse(message.data));
    };
    this.source.onerror = () => this.failed();
  }

  async failed() {
    this.lost();
    this.source.close(); // a browser's own tries would not tell us why they fail
    const known = await loggedIn().catch(() => true);
    if (!this.open) return;
    if (!known) {
      this.close();
      this.out();
      return;
    }
    this.timer = setTimeout(() => this.connect(), this.patience);
    this.patience = Math.min(LATEST, this.patience * 1.6);
  }

  look() {
    clearTimeout(this.timer);
    if (document.hidden) this.timer = setTimeout(() => this.source.close(), UNSEEN);
    else if (this.source.readyState === EventSource.CLOSED) this.connect();
  }

  close() {
    this.open = false;
    clearTimeout(this.timer);
    document.removeEventListener("visibilitychange", this.seen);
    this.source.close();
  }
}
