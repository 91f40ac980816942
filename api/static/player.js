// Plays a job, while it is made and after: sound, waveform, seeking, captions that follow.

import { call, Fault, here, jobPath } from "./api.js";
import { t } from "./i18n.js";
import { $, el, show } from "./ui.js";

const PEAKS = 240;
const PEAKS_RATE_HZ = 8000; // enough for a picture, and small in memory
const MOST_DRAWN_S = 1200;
const MOST_DRAWN_BYTES = 64e6;
const HEADER_BYTES = 44;
const STEP_S = 5;
const audio = $("audio");
const seek = $("seek");

let now = {}; // the job that plays: id, live, final (its address once it is whole), from_s, duration_s
let peaks = null;
let sentences = [];
let spokenAt = -1;
let onFault = () => {};

const clock = (seconds) => {
  const whole = Math.floor(Math.max(0, seconds) + 0.001);
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return `${h ? `${h}:${String(m).padStart(2, "0")}` : m}:${String(s).padStart(2, "0")}`;
};

export const isLive = () => now.live === true;

export function stop() {
  audio.pause();
  if (now.blob) URL.revokeObjectURL(now.blob);
  now = {};
  audio.removeAttribute("src");
  audio.load();
  peaks = null;
  sentences = [];
  spokenAt = -1;
  show($("player"), false);
  show($("captions"), false);
}

// Where a browser wants a click first, the play button waits for it.
const start = () => audio.play().catch(() => {});

// Play what is finished of a running job; the rest follows as it is made.
export function playLive(job) {
  if (now.id === job.id || job.request.format === "pcm") return; // browsers can not play bare samples
  stop();
  now = { id: job.id, live: true, duration_s: 0 };
  audio.src = `${here(job.links.listen)}&stream=1`;
  show($("player"), true);
  draw();
  start();
}

// What can not be heard while it is made plays when it is done.
function giveUp() {
  const { id } = now;
  stop();
  now = { id };
}

// How much there is of the running job.
export function grow(job) {
  if (!now.live || now.id !== job.id) return;
  now.duration_s = job.progress.audio_s;
  draw();
}

// A WAV's header, so that browsers play bare samples.
function header(size_bytes, rate_hz) {
  const view = new DataView(new ArrayBuffer(HEADER_BYTES));
  const words = [[0, "RIFF"], [8, "WAVE"], [12, "fmt "], [36, "data"]];
  for (const [at, word] of words) [...word].forEach((char, i) => view.setUint8(at + i, char.charCodeAt(0)));
  for (const [at, value] of [[4, size_bytes + 36], [16, 16], [24, rate_hz], [28, rate_hz * 2], [40, size_bytes]]) {
    view.setUint32(at, value, true);
  }
  for (const [at, value] of [[20, 1], [22, 1], [32, 2], [34, 16]]) view.setUint16(at, value, true);
  return view;
}

// Where the finished job is heard, and its bytes where they had to be fetched for that.
async function source(job) {
  const link = here(job.links.listen);
  if (job.audio.format !== "pcm") return { link };
  const samples = await (await call(link)).arrayBuffer();
  const whole = new Blob([header(samples.byteLength, job.audio.sample_rate), samples], { type: "audio/wav" });
  return { link: URL.createObjectURL(whole), whole };
}

// The finished job. What plays already goes on from the stream; seeking changes to the file.
export async function playFinished(job, autoplay) {
  const goesOn = now.id === job.id && now.live && !audio.error && !audio.ended;
  if (!goesOn) stop();
  const mine = now = { ...now, id: job.id, duration_s: job.audio.duration_s };
  const { link, whole } = await source(job);
  if (now !== mine) {
    if (whole) URL.revokeObjectURL(link);
    return;
  }
  now.final = link;
  if (whole) now.blob = link;
  if (!goesOn) useFinal(0, autoplay);
  show($("player"), true);
  draw();
  await Promise.all([loadPeaks(job, whole, mine), loadCaptions(job, mine)]);
}

function useFinal(at_s, play) {
  now.live = false;
  now.from_s = at_s;
  audio.src = now.final;
  if (play) start();
}

function seekTo(at_s) {
  if (!now.final) return;
  if (now.live) useFinal(at_s, !audio.paused);
  now.from_s = at_s; // it is gone to as soon as the file's beginning is here
  if (audio.readyState) audio.currentTime = at_s;
  draw();
}

// Waveform

async function loadPeaks(job, whole, mine) {
  if (job.audio.duration_s > MOST_DRAWN_S || job.audio.size_bytes > MOST_DRAWN_BYTES) return;
  try {
    const data = await (whole || await call(mine.final)).arrayBuffer();
    const sound = await new OfflineAudioContext(1, 1, PEAKS_RATE_HZ).decodeAudioData(data);
    if (now !== mine) return;
    peaks = peaksOf(sound.getChannelData(0));
    draw();
  } catch { /* no picture: the position alone is shown */ }
}

function peaksOf(samples) {
  const width = samples.length / PEAKS;
  const found = Array.from({ length: PEAKS }, (_, i) => {
    let peak = 0;
    const end = Math.min(samples.length, Math.ceil((i + 1) * width));
    for (let j = Math.floor(i * width); j < end; j += 1) peak = Math.max(peak, Math.abs(samples[j]));
    return peak;
  });
  const loudest = Math.max(...found, 0.01);
  return found.map((peak) => peak / loudest);
}

function drawWave(share) {
  const canvas = $("wave");
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (!width) return;
  const scale = window.devicePixelRatio || 1;
  canvas.width = width * scale;
  canvas.height = height * scale;
  const pen = canvas.getContext("2d");
  const style = getComputedStyle(canvas);
  const [ahead, past] = [style.getPropertyValue("color"), style.getPropertyValue("border-top-color")];
  const step = (width * scale) / PEAKS;
  const count = Math.min(PEAKS, Math.floor(width / 3));
  for (let i = 0; i < count; i += 1) {
    const from = Math.floor((i * PEAKS) / count);
    const to = Math.max(from + 1, Math.floor(((i + 1) * PEAKS) / count));
    const peak = peaks ? Math.max(...peaks.slice(from, to)) : 0.06;
    const tall = Math.max(2 * scale, peak * height * scale * 0.92);
    pen.fillStyle = (i + 0.5) / count <= share ? past : ahead;
    pen.fillRect((i * step * PEAKS) / count, (height * scale - tall) / 2, Math.max(1, (step * PEAKS) / count - scale), tall);
  }
}

// Captions

async function loadCaptions(job, mine) {
  if (!job.captions) return;
  const found = await (await call(jobPath(job.id, "/captions.json"))).json();
  if (now !== mine) return;
  sentences = found.sentences.map((sentence, i) => ({
    ...sentence,
    node: el("span", { class: "sentence", role: "button", tabindex: i ? -1 : 0, text: sentence.text }),
  }));
  for (const one of sentences) one.node.addEventListener("click", () => seekTo(one.start_ms / 1000));
  $("captions").replaceChildren(...sentences.map((one) => one.node));
  $("captions").scrollTop = 0;
  show($("captions"), sentences.length > 0);
  follow();
}

// One sentence is reached by Tab, the others from there by arrow keys; Enter seeks.
function captionKey(event) {
  const at = sentences.findIndex((one) => one.node === event.target);
  if (at < 0) return;
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  const next = sentences[at + step];
  if (event.key === "Enter" || event.key === " ") {
    seekTo(sentences[at].start_ms / 1000);
  } else if (next) {
    event.target.tabIndex = -1;
    next.node.tabIndex = 0;
    next.node.focus();
  } else if (!step) {
    return;
  }
  event.preventDefault();
}

// The last that has begun; -1 before the first.
function begun(list, at_ms) {
  let [low, high] = [0, list.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle].start_ms <= at_ms) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

function enter(index) {
  const old = sentences[spokenAt];
  if (old) {
    old.node.textContent = old.text;
    old.node.classList.remove("spoken");
  }
  spokenAt = index;
  const one = sentences[index];
  if (!one) return;
  one.marks = one.words.map((word) => el("span", { text: word.text }));
  one.node.replaceChildren(...one.marks);
  one.node.classList.add("spoken");
  const panel = $("captions");
  const [top, bottom] = [one.node.offsetTop, one.node.offsetTop + one.node.offsetHeight];
  if (top < panel.scrollTop || bottom > panel.scrollTop + panel.clientHeight) panel.scrollTop = top - 12;
}

// Marks the sentence and the word that are heard now.
function follow() {
  if (!sentences.length) return;
  const at_ms = audio.currentTime * 1000;
  const index = at_ms > 0 || !audio.paused ? begun(sentences, at_ms) : -1;
  if (index !== spokenAt) enter(index);
  const one = sentences[index];
  if (!one) return;
  const word = begun(one.words, at_ms);
  one.marks.forEach((mark, i) => {
    if (i === word) mark.setAttribute("aria-current", "true");
    else mark.removeAttribute("aria-current");
  });
}

// What is seen

export function draw() {
  if (!now.id) return;
  const at_s = audio.readyState ? audio.currentTime : now.from_s || 0;
  const whole_s = Math.max(now.duration_s || 0, now.final ? 0 : at_s);
  const shown = audio.ended && now.final ? whole_s : Math.min(at_s, whole_s);
  seek.max = whole_s;
  seek.value = shown;
  seek.disabled = !now.final;
  const [at, of] = [clock(shown), `${clock(whole_s)}${now.final ? "" : "…"}`];
  seek.setAttribute("aria-valuetext", t("seek_at", { at, of }));
  $("clock").textContent = `${at} / ${of}`;
  const playing = !audio.paused && !audio.ended;
  $("play").classList.toggle("playing", playing);
  $("play").setAttribute("aria-label", t(playing ? "pause" : "play"));
  drawWave(whole_s ? shown / whole_s : 0);
  follow();
}

function tick() {
  draw();
  if (!audio.paused && !audio.ended) requestAnimationFrame(tick);
}

function toggle() {
  if (!audio.paused && !audio.ended) return audio.pause();
  if (now.live && now.final && audio.ended) return useFinal(0, true);
  return start();
}

export function startPlayer(told) {
  onFault = told;
  $("play").addEventListener("click", toggle);
  seek.addEventListener("input", () => seekTo(Number(seek.value)));
  seek.addEventListener("keydown", (event) => {
    const step_s = { ArrowLeft: -STEP_S, ArrowRight: STEP_S }[event.key];
    if (!step_s) return;
    event.preventDefault(); // its own step is a hundredth of a second
    seekTo(Math.min(now.duration_s, Math.max(0, audio.currentTime + step_s)));
  });
  $("captions").addEventListener("keydown", captionKey);
  audio.addEventListener("loadedmetadata", () => { if (now.from_s) audio.currentTime = now.from_s; });
  audio.addEventListener("play", tick);
  for (const name of ["pause", "ended", "seeked", "durationchange"]) audio.addEventListener(name, draw);
  audio.addEventListener("error", () => {
    if (!audio.hasAttribute("src")) return;
    if (now.live && now.final) useFinal(audio.currentTime, true);
    else if (now.live) giveUp();
    else onFault(new Fault("sound"));
  });
  new ResizeObserver(draw).observe($("wave"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  $("theme").addEventListener("click", draw);
}
