// The page at /farm: how the farm stands, read again every two seconds.

import { jobPath, read, send, startKeys } from "./api.js";
import { clockTime, duration, language, t } from "./i18n.js";
import { $, clearFault, el, showFault, startFrame } from "./ui.js";

const EVERY_MS = 2000;
const WINDOW_MS = 60_000;
const MOST_ROWS = 20;
const MOST_HELD = 6;
const TILE_LINE = 60; // points of the picture under the output
let seen = null; // what was read last
let counts = []; // what the workers had made at each reading, of the last minute
let outputs = [];
let paused = false;
let timer = 0;
let trouble = null; // why nothing can be read
let told = null; // language and code of the fault that is shown
const reasons = new Map(); // why a delivery died; asked for once

const megabytes = (bytes) => `${Math.round(bytes / 1e6)} MB`;

// A table whose rows stay in the page while they do not change, so that focus stays too.
function fill(table, heads, items, empty) {
  if (!items.length) {
    table.replaceChildren(el("tbody", {}, el("tr", {}, el("td", { class: "empty", text: empty }))));
    return;
  }
  const old = new Map([...table.querySelectorAll("tr[data-key]")].map((row) => [row.dataset.key, row]));
  const rows = items.map(({ key, cells }) => {
    const shape = JSON.stringify([heads, cells.map((cell) => cell.text ?? cell)]);
    const row = old.get(key);
    if (row?.dataset.shape === shape) return row;
    return el("tr", { "data-key": key, "data-shape": shape }, ...cells.map((cell, i) => {
      const holder = el(i === 0 ? "th" : "td", i === 0 ? { scope: "row" } : { "data-head": heads[i] });
      if (cell.class) holder.className = cell.class;
      holder.append(cell.make ? cell.make() : String(cell.text ?? cell));
      return holder;
    }));
  });
  const head = el("tr", {}, ...heads.map((text, i) =>
    el("th", { scope: "col", text, class: items[0].cells[i].class === "number" ? "number" : undefined })));
  const body = el("tbody", {}, ...rows);
  const focused = document.activeElement;
  table.replaceChildren(el("thead", {}, head), body);
  if (focused && focused !== document.activeElement && table.contains(focused)) focused.focus();
}

const number = (text) => ({ text, class: "number" });

function drawLanes() {
  const heads = ["voice", "lane_interactive", "lane_bulk", "lane_wait", "lane_claimed", "lane_workers"];
  fill($("lanes"), heads.map((key) => t(key)), seen.lanes.map((lane) => ({
    key: lane.voice,
    cells: [
      lane.voice, number(lane.depth_interactive), number(lane.depth_bulk),
      number(lane.waiting_s ? duration(lane.waiting_s, 1) : "–"), number(lane.claimed), number(lane.workers),
    ],
  })), t("lanes_none"));
}

// "job:unit" of each piece; many of one job are told together.
function held(worker) {
  if (!worker.ready) return t("worker_starting");
  if (!worker.holding.length) return t("worker_idle");
  const shown = worker.holding.slice(0, MOST_HELD).join(", ");
  return worker.holding.length > MOST_HELD ? `${shown} +${worker.holding.length - MOST_HELD}` : shown;
}

const factor = (worker) => (worker.audio_s ? (worker.synthesis_s / worker.audio_s).toFixed(3) : "–");

function drawWorkers() {
  const heads = ["worker", "worker_voices", "worker_holding", "worker_made", "tile_rtf", "worker_memory", "worker_since"];
  fill($("workers"), heads.map((key) => t(key)), seen.workers.map((worker) => ({
    key: worker.id,
    cells: [
      worker.id, worker.voices.join(", "), { text: held(worker), class: worker.holding.length ? "code" : "" },
      number(duration(worker.audio_s, 1)), number(factor(worker)), number(megabytes(worker.memory_bytes)),
      clockTime(worker.started_at),
    ],
  })), t("workers_none"));
}

const action = (key, act) => ({
  text: t(key),
  make: () => el("button", { type: "button", class: "plain small", text: t(key), onclick: act }),
});

function drawFailures() {
  const heads = ["job", "when", "voice", "reason", "actions"];
  fill($("failures"), heads.map((key) => t(key)), seen.failed.map((job) => ({
    key: job.id,
    cells: [
      { text: job.id, class: "code" }, clockTime(job.finished_at), job.request.lane,
      { text: `${job.error.code}: ${job.error.message}`, class: "long" },
      action("retry", (event) => act(event, jobPath(job.id, "/retry"), "retried")),
    ],
  })), t("failures_none"));
}

function drawDead() {
  const heads = ["delivery", "when", "tries", "last_error", "actions"];
  fill($("dead"), heads.map((key) => t(key)), seen.dead.map((one) => ({
    key: one.id,
    cells: [
      { text: one.id, class: "code" }, clockTime(one.finished_at || one.created_at),
      number(one.attempts), { text: reasonOf(one), class: "long" },
      action("replay", (event) => act(event, `v1/webhooks/deliveries/${encodeURIComponent(one.id)}/replay`, "replayed")),
    ],
  })), t("dead_none"));
}

function reasonOf(delivery) {
  const last = reasons.get(`${delivery.id} ${delivery.attempts}`);
  if (!last) return "…";
  return last.status_code ? t("http_status", { n: last.status_code }) : last.error || "–";
}

async function askReasons(deliveries) {
  await Promise.all(deliveries.map(async (one) => {
    const key = `${one.id} ${one.attempts}`;
    if (reasons.has(key)) return;
    const { tries } = await read(`v1/webhooks/deliveries/${encodeURIComponent(one.id)}`);
    reasons.set(key, tries[tries.length - 1] || {});
  }));
}

async function act(event, path, said) {
  event.target.disabled = true;
  clearFault($("act-fault"));
  try {
    await send(path, "POST");
    $("said").textContent = t(said);
    await refresh();
  } catch (fault) {
    showFault($("act-fault"), fault);
  } finally {
    event.target.disabled = false;
  }
}

// What was made between two readings, worker by worker: one that restarted begins at nought.
function made(before, after, name) {
  let sum = 0;
  for (const [key, now] of after.made) {
    const old = before.made.get(key);
    if (old) sum += Math.max(0, now[name] - old[name]);
  }
  return sum;
}

function count(workers) {
  const at_ms = performance.now();
  const now = {
    at_ms,
    made: new Map(workers.map((one) => [`${one.id} ${one.started_at}`, { audio_s: one.audio_s, synthesis_s: one.synthesis_s }])),
  };
  const last = counts[counts.length - 1];
  if (last) outputs = [...outputs, made(last, now, "audio_s") / ((at_ms - last.at_ms) / 1000)].slice(-TILE_LINE);
  counts = [...counts.filter((one) => at_ms - one.at_ms <= WINDOW_MS), now];
}

function pace() {
  const [first, last] = [counts[0], counts[counts.length - 1]];
  const passed_s = (last.at_ms - first.at_ms) / 1000;
  const audio_s = made(first, last, "audio_s");
  const all = seen.workers.reduce((sum, one) => [sum[0] + one.audio_s, sum[1] + one.synthesis_s], [0, 0]);
  const [spoken_s, took_s] = audio_s > 0 ? [audio_s, made(first, last, "synthesis_s")] : all;
  return { rate: passed_s ? audio_s / passed_s : null, factor: spoken_s ? took_s / spoken_s : null };
}

function picture(values) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  const line = document.createElementNS(space, "polyline");
  const top = Math.max(...values, 0.001);
  const from = TILE_LINE - values.length;
  line.setAttribute("points", values.map((value, i) => `${from + i},${19 - (value / top) * 18}`).join(" "));
  svg.setAttribute("viewBox", `0 0 ${TILE_LINE - 1} 20`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  svg.append(line);
  return svg;
}

function tile(name, value, note, ...more) {
  return el("div", { class: "tile", "data-tile": name }, el("dt", { text: t(`tile_${name}`) }),
    el("dd", {}, el("span", { class: "value", text: value }), el("span", { class: "note", text: note }), ...more));
}

function drawTiles() {
  const { lanes, workers, failed, dead, more } = seen;
  const sum = (name) => lanes.reduce((all, lane) => all + lane[name], 0);
  const found = pace();
  const ready = workers.filter((one) => one.ready).length;
  const oldest_s = Math.max(0, ...lanes.map((lane) => lane.waiting_s));
  const interactive = `${t("lane_interactive")} ${sum("depth_interactive")} · ${t("lane_bulk")} ${sum("depth_bulk")}`;
  const plus = (list, name) => `${list.length}${more[name] ? "+" : ""}`;
  $("tiles").replaceChildren(
    tile("waiting", sum("depth_interactive") + sum("depth_bulk"), interactive),
    tile("oldest", oldest_s ? duration(oldest_s, 1) : "–", ""),
    tile("workers", ready, t("tile_busy", { n: workers.filter((one) => one.holding.length).length })),
    tile("rate", found.rate === null ? "–" : found.rate.toFixed(1), t("tile_rate_note"), picture(outputs)),
    tile("rtf", found.factor === null ? "–" : found.factor.toFixed(3), t("tile_rtf_note")),
    tile("failed", plus(failed, "failed"), t("tile_dead", { n: plus(dead, "dead") })),
  );
}

function draw() {
  $("pause").textContent = t(paused ? "live_resume" : "live_pause");
  if (!seen) return;
  drawTiles();
  drawLanes();
  drawWorkers();
  drawFailures();
  drawDead();
  $("updated").textContent = t("updated", { time: new Date(seen.at).toLocaleTimeString(document.documentElement.lang, { hour12: false }) });
}

async function refresh() {
  const [queue, workers, failed, dead] = await Promise.all([
    read("v1/queue"), read("v1/workers"), read(`v1/jobs?status=failed&limit=${MOST_ROWS}`),
    read(`v1/webhooks/deliveries?status=dead&limit=${MOST_ROWS}`),
  ]);
  await askReasons(dead.deliveries);
  seen = {
    at: Date.now(), lanes: queue.lanes, workers: workers.workers, failed: failed.jobs, dead: dead.deliveries,
    more: { failed: failed.next_cursor !== null, dead: dead.next_cursor !== null },
  };
  count(seen.workers);
  draw();
}

// Why nothing can be read, told once: a screen reader would say it again at every try.
function tellOnce(fault) {
  trouble = fault;
  const code = fault && `${language()} ${fault.code}`;
  if (code === told) return;
  told = code;
  const advice = fault?.code === "forbidden" ? "fault_forbidden_admin" : undefined;
  if (fault) showFault($("fault"), fault, advice);
  else clearFault($("fault"));
}

async function live() {
  clearTimeout(timer);
  if (!paused && !document.hidden) {
    try {
      await refresh();
      $("dot").className = "dot on";
      tellOnce(null);
    } catch (fault) {
      $("dot").className = "dot lost";
      if (!seen || fault.code) tellOnce(fault);
      const refused = fault.code === "forbidden" || fault.code === "unauthorized";
      $("updated").textContent = refused ? "" : t("live_lost");
      if (refused) return; // asking again changes nothing
    }
  }
  timer = setTimeout(live, EVERY_MS);
}

startKeys(() => location.reload());
startFrame(() => {
  draw();
  tellOnce(trouble);
});
$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  $("dot").className = paused ? "dot" : "dot on";
  draw();
  if (!paused) live();
});
document.addEventListener("visibilitychange", () => { if (!document.hidden) live(); });
live();
