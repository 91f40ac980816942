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
let voices = [];

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

async function read(response) {
  const body = await response.json().catch(() => ({}));
  if (response.ok) return body;
  const faults = (body.errors || []).map((fault) => fault.message).join("; ");
  throw new Error(faults || body.detail || `HTTP ${response.status}`);
}

async function loadVoices() {
  const body = await read(await fetch("/v1/voices"));
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

function follow(job) {
  return new Promise((resolve, reject) => {
    const source = new EventSource(`/v1/jobs/${job.id}/events`);
    const take = (event) => {
      const now = JSON.parse(event.data);
      showJob(now);
      if (now.finished_at) { source.close(); resolve(now); }
    };
    source.addEventListener("state", take);
    source.addEventListener("progress", take);
    source.addEventListener("error", (event) => {
      if (event.data) say(JSON.parse(event.data).detail, true); // the farm's; the browser reconnects
      else if (source.readyState === EventSource.CLOSED) reject(new Error("连接中断 · Connection lost"));
    });
  });
}

function play(job) {
  if (job.status !== "succeeded") throw new Error(job.error ? job.error.message : STATES[job.status]);
  const address = `/v1/jobs/${job.id}/audio`;
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
    const response = await fetch("/v1/jobs", {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
    });
    const job = await read(response);
    showJob(job);
    play(await follow(job));
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
