// Calls to the farm: the key where it asks for one, its faults, its events.

import { t } from "./i18n.js";
import { $, show } from "./ui.js";

const KEY = "ttsfarm.key"; // in sessionStorage: kept until the tab is closed
const RECONNECT_MS = 2000;
let asking = null;
let held = null; // the key where sessionStorage is closed to us: until the page is left

function keyOf() {
  try { return sessionStorage.getItem(KEY); } catch { return held; }
}

function keepKey(key) {
  held = key;
  try {
    if (key === null) sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, key);
  } catch { /* as above */ }
}

// Why something could not be done: a code for what to say, the farm's words, what it gave beside.
export class Fault extends Error {
  constructor(code, message = "", more = {}) {
    super(message);
    Object.assign(this, { code, ...more });
  }
}

// The key as soon as a person has given one; two calls that are refused at once ask once.
function askKey(wrong) {
  if (asking) return asking;
  if (wrong) keepKey(null);
  const dialog = $("key-dialog");
  $("key-why").textContent = t(wrong ? "key_wrong" : "key_why");
  $("key-why").classList.toggle("wrong", wrong);
  $("key").value = "";
  show($("change-key"), true);
  dialog.returnValue = "";
  dialog.showModal();
  asking = new Promise((resolve, reject) => {
    dialog.addEventListener("close", () => {
      asking = null;
      const key = $("key").value.trim();
      if (dialog.returnValue !== "given" || !key) return reject(new Fault("unauthorized"));
      keepKey(key);
      return resolve();
    }, { once: true });
  });
  return asking;
}

// `retry` runs when a person has given another key.
export function startKeys(retry) {
  $("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    $("key-dialog").close("given");
  });
  $("key-cancel").addEventListener("click", () => $("key-dialog").close(""));
  $("change-key").addEventListener("click", () => askKey(false).then(retry, () => {}));
  show($("change-key"), keyOf() !== null);
}

// An answer of the farm's; where it asks for a key, so do we, unless `quiet`: what nobody waits for
// asks nobody. Raises a `Fault` for any other.
export async function call(path, options = {}) {
  for (;;) {
    const key = keyOf();
    const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
    let response;
    try {
      response = await fetch(path, { ...options, headers });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Fault("unreachable", error.message);
    }
    if (response.ok) return response;
    if (response.status !== 401 || options.quiet) throw await faultOf(response);
    if (key === keyOf()) await askKey(key !== null);
  }
}

async function faultOf(response) {
  const body = await response.json().catch(() => ({}));
  const each = (body.errors || []).map((one) => one.message);
  const code = body.code === "invalid_request" ? null : body.code;
  return new Fault(code, body.detail || each[0] || `HTTP ${response.status}`, {
    each, requestId: body.request_id, status: response.status,
    retryAfter_s: Number(response.headers.get("Retry-After")) || 0,
  });
}

export const read = async (path, options) => (await call(path, options)).json();

export const send = (path, method, body, headers = {}) => call(path, {
  method,
  headers: body === undefined ? headers : { "Content-Type": "application/json", ...headers },
  body: body === undefined ? undefined : JSON.stringify(body),
});

export const jobPath = (id, what = "") => `v1/jobs/${encodeURIComponent(id)}${what}`;

// A link of the farm's as this page reaches it: the farm may know itself by another name.
export const here = (link) => {
  const { pathname, search } = new URL(link);
  return pathname.slice(pathname.indexOf("/v1/") + 1) + search;
};

// Whether the same call may go well in a while.
export const passes = (error) => error instanceof TypeError || error.code === "unreachable"
  || error.status === 429 || error.status >= 500;

// EventSource can not send a key, so the events are read from a plain answer.
async function* events(path, seen, signal) {
  const response = await call(path, { signal, headers: seen ? { "Last-Event-ID": seen } : {} });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const fields = Object.fromEntries(block.split("\n").map((line) => {
          const at = line.indexOf(": ");
          return [line.slice(0, at), line.slice(at + 2)];
        }));
        if (fields.data) yield { name: fields.event, id: fields.id, data: JSON.parse(fields.data) };
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

// A turn of a tab that is seen, or of one that is not: it ends with `signal`, or when that changes.
function turnOf(signal) {
  const turn = new AbortController();
  const end = () => turn.abort();
  signal.addEventListener("abort", end, { signal: turn.signal });
  document.addEventListener("visibilitychange", end, { signal: turn.signal });
  return turn;
}

const pause = (pause_ms, signal) => new Promise((resolve) => {
  if (signal.aborted) resolve();
  signal.addEventListener("abort", resolve);
  setTimeout(resolve, pause_ms);
});

// The job each time it changes, up to its end; a network that breaks off is waited for. All tabs
// together have six connections to the farm, so one that is not seen asks now and then instead.
export async function* changes(id, signal) {
  const last = { seen: "" };
  while (!signal.aborted) {
    const turn = turnOf(signal);
    try {
      for await (const job of document.hidden ? asked(id, turn.signal) : told(id, last, turn.signal)) {
        yield job;
        if (job.finished_at) return;
      }
      await pause(RECONNECT_MS, turn.signal);
    } catch (error) {
      if (signal.aborted) return;
      if (!turn.signal.aborted && !passes(error)) throw error;
      await pause(Math.max(RECONNECT_MS, (error.retryAfter_s || 0) * 1000), turn.signal);
    } finally {
      turn.abort();
    }
  }
}

async function* asked(id, signal) {
  yield await read(jobPath(id), { signal });
}

// The job as its events have it; `last.seen` is the one a stream that broke off is taken up after.
async function* told(id, last, signal) {
  for await (const event of events(jobPath(id, "/events"), last.seen, signal)) {
    if (event.name === "error") continue; // the farm ends the stream; we come back
    last.seen = event.id;
    yield event.data;
  }
}
