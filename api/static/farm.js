"use strict";
// The page's behaviour: submit a job, follow its events, play what comes of it.

const $ = (id) => document.getElementById(id);
const STATES = {
  queued: "排队中 · Waiting", running: "合成中 · Speaking", succeeded: "完成 · Done",
  failed: "失败 · Failed", canceled: "已取消 · Canceled", expired: "已过期 · Expired",
};
const EMOTIONS = {
  neutral: "中性", happy: "高兴", angry: "生气", sad: "悲伤", fear: "害怕", hate: "厌恶", surprise: "惊讶",
};
const KEY = "ttsfarm.key"; // kept until the tab is closed
const RECONNECT_MS = 2000;
let voices = [];
let asking = null;

function say(message, isFault = false) {
  $("status").textContent = message;
  $("status").classList.toggle("fault", isFault);
}

function fill(select, names, chosen, label = (name) => name) {
  select.replaceChildren(...names.map((name) => new Option(label(name), name, false, name === chosen)));
}

function showEmotions() {
  const voice = voices.find((one) => one.name === $("voice").value);
  const label = (name) => (EMOTIONS[name] ? `${EMOTIONS[name]} · ${name}` : name);
  fill($("emotion"), voice ? voice.emotions : [], "neutral", label);
}

// The key as soon as a person has given one; two calls that are refused at once ask once.
function askKey() {
  if (asking) return asking;
  const wrong = sessionStorage.getItem(KEY) !== null;
  sessionStorage.removeItem(KEY);
  say(wrong ? "密钥无效 · This key does not work" : "请输入访问密钥 · This farm asks for a key", wrong);
  $("key-form").hidden = false;
  $("key").focus();
  asking = new Promise((resolve) => {
    $("key-form").addEventListener("submit", (event) => {
      event.preventDefault();
      sessionStorage.setItem(KEY, $("key").value.trim());
      $("key").value = "";
      $("key-form").hidden = true;
      asking = null;
      say("");
      resolve();
    }, { once: true });
  });
  return asking;
}

// An answer of the farm's; where it asks for a key, so do we.
async function call(path, options = {}) {
  for (;;) {
    const key = sessionStorage.getItem(KEY);
    const headers = { ...options.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
    const response = await fetch(path, { ...options, headers });
    if (response.status !== 401) return response;
    if (key === sessionStorage.getItem(KEY)) await askKey();
  }
}

async function read(response) {
  const body = await response.json().catch(() => ({}));
  if (response.ok) return body;
  const faults = (body.errors || []).map((fault) => fault.message).join("; ");
  throw new Error(faults || body.detail || `HTTP ${response.status}`);
}

async function loadVoices() {
  const body = await read(await call("/v1/voices"));
  voices = body.voices;
  const first = voices.find((one) => one.default && one.ready_workers)
    || voices.find((one) => one.ready_workers);
  const silent = new Set(voices.filter((one) => !one.ready_workers).map((one) => one.name));
  const label = (name) => (silent.has(name) ? `${name} (未就绪 · not ready)` : name);
  fill($("voice"), voices.map((one) => one.name), first && first.name, label);
  showEmotions();
  if (!voices.length) say("还没有可用的音色, 请启动一个 worker。No voice yet: start a worker.", true);
}

function showJob(job) {
  const { segments_done: done, segments_total: total } = job.progress;
  $("progress").hidden = job.status !== "queued" && job.status !== "running";
  if (total) $("progress").value = done / total;
  else $("progress").removeAttribute("value");
  const left_s = job.progress.eta_s === null ? null : Math.ceil(job.progress.eta_s);
  const place = job.queue && job.queue.position ? ` #${job.queue.position}` : "";
  const eta = left_s === null ? "" : ` · 约 ${left_s} 秒 · about ${left_s} s`;
  say(STATES[job.status] + place + (total ? ` ${done}/${total}` : "") + eta);
}

// EventSource can not send a key, so the events are read from a plain answer.
async function* events(path, seen) {
  const response = await call(path, { headers: seen ? { "Last-Event-ID": seen } : {} });
  if (!response.ok) await read(response);
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

async function follow(job) {
  let seen = "";
  for (;;) {
    try {
      for await (const event of events(`/v1/jobs/${job.id}/events`, seen)) {
        if (event.name === "error") { say(event.data.detail, true); continue; }
        seen = event.id;
        showJob(event.data);
        if (event.data.finished_at) return event.data;
      }
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // the network's faults pass; the farm's do not
    }
    await new Promise((resolve) => setTimeout(resolve, RECONNECT_MS));
  }
}

// An audio element can not send a key: the farm's signed link needs none. A link to another host,
// an object store's, is closed to the page, so the audio is fetched whole.
async function audioAddress(job) {
  if (!sessionStorage.getItem(KEY)) return `/v1/jobs/${job.id}/audio`;
  const link = new URL(job.audio.url);
  if (link.pathname.startsWith("/v1/files/")) return link.pathname + link.search;
  const response = await call(`/v1/jobs/${job.id}/audio`);
  if (!response.ok) await read(response);
  return URL.createObjectURL(await response.blob());
}

async function play(job) {
  if (job.status !== "succeeded") throw new Error(job.error ? job.error.message : STATES[job.status]);
  if ($("player").src.startsWith("blob:")) URL.revokeObjectURL($("player").src);
  const address = await audioAddress(job);
  $("player").src = address;
  $("player").hidden = false;
  $("download").href = address;
  $("download").download = `${job.id}.${job.audio.format}`;
  $("download").hidden = false;
  const took_s = (job.timing.total_ms / 1000).toFixed(1);
  say(`${STATES.succeeded} · ${job.audio.duration_s.toFixed(1)} s (用时 · took ${took_s} s)`);
}

async function speak(event) {
  event.preventDefault();
  $("go").disabled = true;
  $("player").hidden = $("download").hidden = true;
  say("提交中 · Submitting");
  try {
    const body = { text: $("text").value, speed: Number($("speed").value) };
    for (const name of ["voice", "emotion"]) if ($(name).value) body[name] = $(name).value;
    const response = await call("/v1/jobs", {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
    });
    const job = await read(response);
    showJob(job);
    await play(await follow(job));
  } catch (error) {
    $("progress").hidden = true;
    say(error.message, true);
  } finally {
    $("go").disabled = false;
  }
}

const count = () => { $("count").textContent = [...$("text").value].length; };
$("text").addEventListener("input", count);
$("voice").addEventListener("change", showEmotions);
$("speed").addEventListener("input", () => {
  $("speed-shown").textContent = `${Number($("speed").value).toFixed(2)}×`;
});
$("speak").addEventListener("submit", speak);
$("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !$("go").disabled) $("speak").requestSubmit();
});
count();
loadVoices().catch((error) => say(error.message, true));
