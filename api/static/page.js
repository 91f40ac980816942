// The page at /: text in, a job, and what comes of it.

import { call, changes, Fault, here, jobPath, passes, read, send, startKeys } from "./api.js";
import { content, drawEditor, offerEmotions, plain, startEditor } from "./editor.js";
import * as history from "./history.js";
import { clockTime, duration, named, t } from "./i18n.js";
import * as player from "./player.js";
import { $, clearFault, el, show, showFault, startFrame } from "./ui.js";

const CAPTIONED = true;
const POLL_MS = 3000;
const SAMPLE_KEPT_S = 3600;
const SAMPLE_WAIT_S = 30;
const MOST_SKIPPED = 8;
const SETTINGS = ["voice", "emotion", "speed", "pitch", "volume"];
let voices = [];
let emotion = "neutral";
let job = null; // the one that is shown
let following = new AbortController();
let choice = {}; // the job that was asked to be shown last: no other is
let asking = false; // for the voices
let unanswered = {}; // the job asked for last, while no answer came
const sampler = new Audio();
const samples = new Map();

// What to speak, and how

const chosen = () => voices.find((one) => one.name === $("voice").value);

function drawVoices() {
  const name = $("voice").value;
  const first = voices.find((one) => one.default) || voices.find((one) => one.ready_workers) || voices[0];
  const label = (one) => (one.ready_workers ? one.name : t("voice_silent", { name: one.name }));
  $("voice").replaceChildren(...voices.map((one) => el("option", { value: one.name, text: label(one) })));
  if (!voices.length) $("voice").append(el("option", { value: "", text: t("voice_none") }));
  if (voices.length) $("voice").value = voices.some((one) => one.name === name) ? name : first.name;
  $("sample").disabled = !voices.length;
  drawVoice();
}

function drawVoice() {
  const voice = chosen();
  const emotions = voice ? voice.emotions : [];
  if (!emotions.includes(emotion)) emotion = emotions.includes("neutral") ? "neutral" : emotions[0];
  $("emotion-pills").replaceChildren(...emotions.map((name) => el("label", {},
    el("input", { type: "radio", name: "emotion", value: name, checked: name === emotion ? "" : undefined,
      onchange: () => { emotion = name; } }),
    el("span", { text: named("emotion", name) }))));
  show($("emotions"), emotions.length > 1);
  offerEmotions(emotions);
  const about = voice && t("voice_about", {
    language: named("language", voice.language.split("-")[0]), engine: voice.engine, rate: voice.sample_rate / 1000,
  });
  $("voice-about").textContent = voice ? `${about}${voice.ready_workers ? "" : ` · ${t("voice_waits")}`}` : "";
}

function drawSliders() {
  const value = (id) => Number($(id).value);
  const pitch = value("pitch");
  $("speed-shown").textContent = `${value("speed").toFixed(2)}×`;
  $("pitch-shown").textContent = t("semitones", { n: pitch > 0 ? `+${pitch}` : pitch });
  $("volume-shown").textContent = `${Math.round(value("volume") * 100)}%`;
  $("pitch").setAttribute("aria-valuetext", $("pitch-shown").textContent);
  $("volume").setAttribute("aria-valuetext", $("volume-shown").textContent);
  $("speed").setAttribute("aria-valuetext", $("speed-shown").textContent);
}

function asked() {
  const fields = { voice: $("voice").value || undefined, emotion: emotion || undefined };
  for (const id of ["speed", "pitch", "volume"]) fields[id] = Number($(id).value);
  return fields;
}

// Asked again until a voice is ready: a page may be open before its farm is.
async function loadVoices() {
  if (asking) return;
  asking = true;
  await untilReady();
  asking = false;
}

async function untilReady() {
  let told = false;
  for (;;) {
    const fault = await readVoices();
    if (fault && !told) showFault($("form-fault"), fault);
    if (told && !fault) clearFault($("form-fault"));
    told = Boolean(fault);
    if (fault && fault.code !== "no_voice_ready" && !passes(fault)) return;
    if (voices.some((one) => one.ready_workers)) return;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

// What keeps the voices from being known, if anything does.
async function readVoices() {
  let found;
  try {
    found = (await read("v1/voices")).voices;
  } catch (fault) {
    return fault;
  }
  const same = JSON.stringify(found) === JSON.stringify(voices);
  voices = found;
  if (!same) drawVoices(); // an open list would be closed
  return voices.length ? null : new Fault("no_voice_ready");
}

// Where a sentence is heard by the voice as it is set; the farm keeps it, so the second time costs nothing.
async function makeSample(fields) {
  const text = t(chosen().language.startsWith("en") ? "sample_text_en" : "sample_text");
  const response = await call("v1/jobs", {
    method: "POST",
    headers: { "Content-Type": "application/json", Prefer: `wait=${SAMPLE_WAIT_S}` },
    body: JSON.stringify({ ...fields, text, priority: "high", retention_s: SAMPLE_KEPT_S }),
  });
  const made = await response.json();
  if (made.error) throw new Fault(made.error.code, made.error.message);
  if (!made.audio) throw new Fault("unavailable");
  return here(made.links.listen);
}

// Whether the sample can be played; one that other sound cuts off, or that wants another click, can.
async function plays(link) {
  $("audio").pause();
  sampler.src = link;
  try {
    await sampler.play();
  } catch (error) {
    return ["AbortError", "NotAllowedError"].includes(error.name);
  }
  return true;
}

async function playSample() {
  const fields = asked();
  const key = JSON.stringify(SETTINGS.map((name) => fields[name]));
  clearFault($("form-fault"));
  $("sample").disabled = true;
  $("sample").setAttribute("aria-busy", "true");
  try {
    const old = samples.get(key);
    if (old && await plays(old)) return;
    samples.delete(key); // its link has expired
    const link = await makeSample(fields);
    if (!(await plays(link))) throw new Fault("sound");
    samples.set(key, link);
  } catch (error) {
    showFault($("form-fault"), error);
  } finally {
    $("sample").disabled = false;
    $("sample").removeAttribute("aria-busy");
  }
}

// A job's making that was not answered may have made it: asked again, it goes under the same key.
async function make(body) {
  const wish = JSON.stringify(body);
  if (unanswered.wish !== wish) {
    unanswered = { wish, key: crypto.getRandomValues(new Uint32Array(4)).join("-") };
  }
  const answer = await send("v1/jobs", "POST", body, { "Idempotency-Key": unanswered.key });
  const made = await answer.json();
  unanswered = {};
  return made;
}

async function submit(event) {
  event.preventDefault();
  clearFault($("form-fault"));
  let given;
  try {
    given = content();
  } catch (fault) {
    showFault($("form-fault"), fault);
    $("text").focus();
    return;
  }
  $("go").disabled = true;
  $("go").textContent = t("submitting");
  sampler.pause();
  try {
    const body = { ...given, ...asked(), format: $("format").value, captions: CAPTIONED };
    const made = await make(body);
    history.add(made, plain(given.ssml || given.text));
    choice = {};
    await open(made, true);
  } catch (fault) {
    showFault($("form-fault"), fault);
  } finally {
    $("go").disabled = false;
    $("go").textContent = t("submit");
  }
}

// The job that is shown

function statusLine() {
  const { progress, queue } = job;
  if (job.status === "queued") {
    const place = queue?.position > 1 ? t("queue_place", { n: queue.position }) : t("queue_next");
    return [place, queue?.eta_s != null && t("starts_in", { time: duration(Math.max(1, queue.eta_s)) })];
  }
  if (job.status === "running") {
    return [
      progress.segments_total ? t("parts", { done: progress.segments_done, total: progress.segments_total }) : t("splitting"),
      progress.eta_s != null ? t("done_in", { time: duration(Math.max(1, progress.eta_s)) })
        : progress.audio_s > 0 && t("audio_so_far", { time: duration(progress.audio_s) }),
      player.isLive() && t("playing_live"),
    ];
  }
  if (job.status === "succeeded") {
    const skipped = job.substitutions.filter((one) => !one.replacement);
    const text = skipped.slice(0, MOST_SKIPPED).map((one) => one.text).join(" ");
    return [
      t("took", { audio: duration(job.audio.duration_s, 1), took: duration((job.timing.total_ms || 0) / 1000, 1) }),
      skipped.length > 0 && t("left_out", { n: skipped.length, text }),
    ];
  }
  return [job.finished_at && clockTime(job.finished_at)];
}

function drawJob() {
  if (!job) return;
  const entry = history.find(job.id);
  const waiting = ["queued", "running"].includes(job.status);
  $("result-title").textContent = entry ? entry.text : job.id;
  const state = t(`state_${job.status}`);
  if ($("state").textContent !== state) $("state").textContent = state; // a change is read aloud
  $("state").className = `state ${job.status}`;
  const line = statusLine().filter(Boolean).join(" · ");
  if ($("status").textContent !== line) $("status").textContent = line;
  show($("progress"), waiting);
  const { segments_done: done, segments_total: total } = job.progress;
  if (total && job.status === "running") $("progress").value = done / total;
  else $("progress").removeAttribute("value");
  show($("cancel"), waiting);
  show($("retry"), history.mayRetry(job.status, job.error ? job.error.retryable : null));
  show($("download"), job.status === "succeeded");
  show($("subtitles"), job.captions !== null);
  drawOutcome();
  player.draw();
}

function drawOutcome() {
  if (job.error) return showFault($("result-fault"), new Fault(job.error.code, job.error.message));
  clearFault($("result-fault"));
  if (job.audio) {
    $("download").href = audioLink(job);
    $("download").download = `${job.id}.${job.audio.format}`;
  }
  return undefined;
}

// Show a job and follow it to its end; `autoplay` where a person asked to hear it.
async function open(found, autoplay) {
  following.abort();
  following = new AbortController();
  const { signal } = following;
  player.stop();
  job = found;
  show($("result"), true);
  history.mark(job.id);
  drawJob();
  if (autoplay) $("result").scrollIntoView({ block: "nearest" });
  follow(autoplay, signal).catch((fault) => {
    if (signal.aborted) return;
    if (fault.code === "not_found") noteGone(job.id);
    showFault($("result-fault"), fault);
  });
}

// A job that was removed elsewhere, or whose time is over.
function noteGone(id) {
  history.noteGone(id);
  if (job?.id !== id) return;
  following.abort();
  player.stop();
  job = { ...job, status: "gone", audio: null, captions: null, error: null };
  drawJob();
}

async function follow(autoplay, signal) {
  if (!job.finished_at) {
    for await (const fresh of changes(job.id, signal)) {
      if (signal.aborted) return;
      job = fresh;
      history.note(job);
      if (autoplay && job.status === "running" && job.progress.audio_s > 0) player.playLive(job);
      player.grow(job);
      drawJob();
    }
  }
  if (signal.aborted) return;
  history.note(job);
  drawJob();
  if (job.status === "succeeded") {
    await player.playFinished(job, autoplay);
    if (autoplay && !signal.aborted) $("result").scrollIntoView({ block: "nearest" });
  }
  else player.stop();
}

// What can be done about a job, from its card or from the list

const fetchJob = (id, options) => read(jobPath(id), options);

async function attempt(id, act) {
  try {
    await act();
  } catch (fault) {
    if (fault.code === "not_found") noteGone(id);
    showFault(job?.id === id ? $("result-fault") : $("form-fault"), fault);
  }
}

const showJob = (id, autoplay) => attempt(id, async () => {
  const mine = choice = { id };
  const found = await fetchJob(id);
  if (mine === choice) await open(found, autoplay);
});

const cancelJob = (id) => attempt(id, async () => {
  const ended = await (await send(jobPath(id, "/cancel"), "POST")).json();
  history.note(ended);
  if (job?.id === id) await open(ended, false);
});

const retryJob = (id) => attempt(id, async () => {
  const again = await (await send(jobPath(id, "/retry"), "POST")).json();
  history.note(again);
  choice = {};
  await open(again, true);
});

const removeJob = (id) => attempt(id, async () => {
  try {
    await send(jobPath(id), "DELETE");
  } catch (fault) {
    if (fault.code !== "not_found") throw fault;
  }
  history.forget(id);
  if (choice.id === id) choice = {};
  if (job?.id === id) {
    following.abort();
    player.stop();
    job = null;
    show($("result"), false);
  }
});

async function subtitles() {
  await attempt(job.id, async () => {
    const link = URL.createObjectURL(await (await call(jobPath(job.id, "/captions.srt"))).blob());
    el("a", { href: link, download: `${job.id}.srt` }).click();
    setTimeout(() => URL.revokeObjectURL(link), POLL_MS);
  });
}

// The farm's own link as this page reaches it; the store's as it is.
function audioLink({ audio, links }) {
  const farm = links.self.slice(0, links.self.indexOf("/v1/") + 4);
  return audio.url.startsWith(farm) ? here(audio.url) : audio.url;
}

// Links expire; one that is about to be used is fetched anew.
async function download(event) {
  event.preventDefault();
  await attempt(job.id, async () => {
    const fresh = await fetchJob(job.id);
    el("a", { href: audioLink(fresh), download: `${fresh.id}.${fresh.audio.format}` }).click();
  });
}

// The jobs of the list that are not shown are asked for now and then.
async function poll() {
  for (const id of history.pending()) {
    if (document.hidden || (id === job?.id && !job.finished_at)) continue;
    try {
      history.note(await fetchJob(id, { quiet: true }));
    } catch (fault) {
      if (fault.code === "not_found") history.noteGone(id);
      else break; // the farm or the key: the next round tries again
    }
  }
  setTimeout(poll, POLL_MS);
}

// With another key what was refused may go well; what was typed stays.
function askAgain() {
  clearFault($("form-fault"));
  if (!voices.length) loadVoices();
  if (job && !job.error && !$("result-fault").hidden) showJob(job.id, false);
}

function redraw() {
  drawEditor();
  drawVoices();
  drawSliders();
  history.draw();
  drawJob();
  if (!$("form-fault").hidden) clearFault($("form-fault"));
}

startKeys(askAgain);
startEditor();
player.startPlayer((fault) => showFault($("result-fault"), fault));
history.startHistory({
  play: (id) => showJob(id, true), show: (id) => showJob(id, false),
  cancel: cancelJob, retry: retryJob, remove: removeJob,
});
startFrame(redraw);
$("voice").addEventListener("change", drawVoice);
for (const id of ["speed", "pitch", "volume"]) $(id).addEventListener("input", drawSliders);
$("sample").addEventListener("click", playSample);
$("speak").addEventListener("submit", submit);
$("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !$("go").disabled) $("speak").requestSubmit();
});
$("cancel").addEventListener("click", () => cancelJob(job.id));
$("retry").addEventListener("click", () => retryJob(job.id));
$("subtitles").addEventListener("click", subtitles);
$("download").addEventListener("click", download);
loadVoices();
poll();
