// What this browser has submitted: a list in localStorage, with what can be done about each.

import { clockTime, duration, named, t } from "./i18n.js";
import { $, el, keep, kept, show } from "./ui.js";

const NAME = "ttsfarm.history";
const MOST = 50;
const EXCERPT = 120;
const ENDED = new Set(["succeeded", "failed", "canceled", "expired", "gone"]);
const ICONS = {
  play: "M4 2.5v11l9-5.5z",
  cancel: "M4 4h8v8H4z",
  retry: "M8 2.5a5.5 5.5 0 1 0 5.3 7h-1.9A3.7 3.7 0 1 1 8 4.3c1 0 1.9.4 2.6 1L8.500 7.500H14V2l-2.100 2.100A5.500 5.500 0 0 0 8 2.500z",
  remove: "M6.200 1.800 5.600 3H2.500v1.600h11V3h-3.100l-.6-1.200zM3.600 6l.7 8.200h7.400l.7-8.200z",
};
let acts = {};
let current = null;

function load() {
  try {
    const found = JSON.parse(kept(NAME) || "[]");
    return Array.isArray(found) ? found : [];
  } catch {
    return [];
  }
}

let entries = load();

const save = () => keep(NAME, JSON.stringify(entries));

export const find = (id) => entries.find((one) => one.id === id);
export const pending = () => entries.filter((one) => !ENDED.has(one.status)).map((one) => one.id);

// What is wrong with a text stays wrong when it is tried again.
export const mayRetry = (status, retryable) =>
  ["canceled", "expired"].includes(status) || (status === "failed" && retryable !== false);

const described = (job) => ({
  id: job.id, status: job.status, created_at: job.created_at, voice: job.request.voice,
  emotion: job.request.emotion, duration_s: job.audio ? job.audio.duration_s : null,
  retryable: job.error ? job.error.retryable : null,
});

export function add(job, text) {
  const excerpt = [...text.trim()].slice(0, EXCERPT).join("");
  entries = [{ ...described(job), text: excerpt }, ...entries.filter((one) => one.id !== job.id)].slice(0, MOST);
  save();
  draw();
}

// Writes down how a job stands; one this browser did not submit is none of ours.
export function note(job) {
  const entry = find(job.id);
  if (!entry) return;
  const fresh = { ...entry, ...described(job) };
  if (JSON.stringify(fresh) === JSON.stringify(entry)) return;
  Object.assign(entry, fresh);
  save();
  draw();
}

export function noteGone(id) {
  const entry = find(id);
  if (entry) entry.status = "gone";
  save();
  draw();
}

export function forget(id) {
  entries = entries.filter((one) => one.id !== id);
  save();
  draw();
}

export function mark(id) {
  current = id;
  draw();
}

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", ICONS[name]);
  path.setAttribute("class", "fill");
  svg.append(path);
  return svg;
}

function button(name, entry, label = `history_${name}`) {
  const act = () => acts[name](entry.id);
  return el("button", {
    type: "button", class: "quiet icon", "data-act": name, title: t(name === "cancel" ? "cancel_job" : name),
    "aria-label": t(label, { text: entry.text }), onclick: act,
  }, icon(name));
}

// Asks once more on the button itself, until it loses the focus: deleting can not be undone.
function removal(entry) {
  const node = button("remove", entry, "history_delete");
  const label = node.getAttribute("aria-label");
  node.addEventListener("click", (event) => {
    if (node.dataset.sure) return;
    event.stopImmediatePropagation();
    node.dataset.sure = "yes";
    node.classList.remove("icon");
    node.replaceChildren(t("remove_sure"));
    node.setAttribute("aria-label", `${t("remove_sure")} ${entry.text}`);
  }, { capture: true });
  node.addEventListener("blur", () => {
    delete node.dataset.sure;
    node.classList.add("icon");
    node.replaceChildren(icon("remove"));
    node.setAttribute("aria-label", label);
  });
  return node;
}

function row(entry) {
  const facts = [clockTime(entry.created_at), entry.voice, named("emotion", entry.emotion)];
  if (entry.duration_s) facts.push(duration(entry.duration_s, 1));
  const buttons = [removal(entry)];
  if (entry.status === "succeeded") buttons.unshift(button("play", entry));
  if (!ENDED.has(entry.status)) buttons.unshift(button("cancel", entry));
  if (mayRetry(entry.status, entry.retryable)) buttons.unshift(button("retry", entry));
  const open = el("button", {
    type: "button", class: "open", onclick: () => acts.show(entry.id), text: entry.text,
    "aria-label": t("history_show", { text: entry.text }), disabled: entry.status === "gone" ? "" : undefined,
  });
  return el("li", { "data-job": entry.id, "aria-current": entry.id === current ? "true" : undefined },
    el("div", { class: "about" }, open, el("p", { class: "facts" },
      el("span", { class: `state ${entry.status}`, text: t(`state_${entry.status}`) }), ...facts.flatMap((fact) => [" · ", el("span", { text: fact })]))),
    el("div", { class: "buttons" }, ...buttons));
}

export function draw() {
  const focused = document.activeElement?.closest?.("#history li");
  const [job, act] = [focused?.dataset.job, document.activeElement?.dataset?.act];
  const place = [...$("history").children].indexOf(focused);
  $("history").replaceChildren(...entries.map(row));
  show($("history-empty"), !entries.length);
  show($("history-note"), entries.length > 0);
  if (!job) return;
  const rows = [...$("history").children];
  const again = rows.find((one) => one.dataset.job === job) || rows[Math.min(place, rows.length - 1)];
  (again?.querySelector(`[data-act="${act}"]`) || again?.querySelector("button:enabled") || $("history-title")).focus();
}

// `actions`: what play, show, cancel, retry and remove do with a job's id.
export function startHistory(actions) {
  acts = actions;
  addEventListener("storage", (event) => {
    if (event.key !== NAME) return;
    entries = load();
    draw();
  });
}
