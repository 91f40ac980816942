// The text box: counter, files, and markup for who does not write SSML by hand.

import { Fault } from "./api.js";
import { named, t } from "./i18n.js";
import { $, clearFault, el, show, showFault } from "./ui.js";

const PAUSES_MS = [300, 500, 1000, 2000, 3000];
const MOST_BYTES_PER_CHAR = 4;
const TAG = /<\?xml[^>]*\?>|<!--[^]*?-->|<(\/?)([A-Za-z][\w-]*)(?:\s+[\w:-]+\s*=\s*(?:"[^"<]*"|'[^'<]*'))*\s*(\/?)>|</g;
const STRAY_AMPERSAND = /&(?!(?:amp|lt|gt|quot|apos|#\d+|#x[\da-f]+);)/i;
const MARKUP = /^\s*(?:<\?xml[^>]*\?>\s*)?<speak[\s>]/;
const MOST_MARKUP_BYTES = 64 * 1024; // as the farm reads it
const limit = Number(document.body.dataset.maxChars);
const box = $("text");
let touched = false;

export const isMarkup = () => MARKUP.test(box.value);
export const lengthOf = (text) => [...text].length;

const escaped = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

// Whether every tag is closed in its place. The farm has the last word; DOMParser is not asked, since
// its answer to a fault is a page with a style of its own, which our policy reports.
function wellFormed(text) {
  if (STRAY_AMPERSAND.test(text)) return false;
  const open = [];
  for (const [token, end, name, empty] of text.matchAll(TAG)) {
    if (token === "<") return false;
    if (end && open.pop() !== name) return false;
    if (name && !end && !empty) open.push(name);
  }
  return !open.length;
}

const NAMED = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

const bare = (text) => text.replace(/<[^>]*>/g, "").replace(/&(amp|lt|gt|quot|apos);/g, (_, name) => NAMED[name]);

// The text without its tags, for showing.
export const plain = (text) => (MARKUP.test(text) ? bare(text) : text);

// What to submit; raises a `Fault` where it can not be.
export function content() {
  const text = box.value;
  if (!plain(text).trim()) throw new Fault("no_text");
  const n = lengthOf(text);
  if (n > limit) throw new Fault("too_long", "", { values: { n, max: limit } });
  if (!isMarkup()) return { text };
  if (!wellFormed(text)) throw new Fault("markup");
  const ssml = text.trim();
  const n_bytes = new TextEncoder().encode(ssml).length;
  if (n_bytes > MOST_MARKUP_BYTES) {
    throw new Fault("markup_long", "", { values: { n: n_bytes, max: MOST_MARKUP_BYTES } });
  }
  return { ssml };
}

// Replaces the whole text so that Ctrl+Z brings the old one back, and selects a part of the new one.
function replace(text, start, end) {
  box.focus();
  box.select();
  // The one way to write that keeps the browser's undo; where it is gone, undo is.
  if (!document.execCommand("insertText", false, text)) box.value = text;
  box.setSelectionRange(start, end);
  update();
}

function update() {
  const n = lengthOf(box.value);
  $("count").textContent = t("count", { n: n.toLocaleString(), max: limit.toLocaleString() });
  $("count").classList.toggle("over", n > limit);
  show($("is-ssml"), isMarkup());
  show($("unmark"), isMarkup());
}

// The text as markup with where the selection then lies; the root's own tags are never selected.
function marked() {
  const { value, selectionStart: start, selectionEnd: end } = box;
  if (isMarkup()) {
    const [first, last] = [value.indexOf(">", value.indexOf("<speak")) + 1, value.lastIndexOf("</speak")];
    const within = (at) => Math.max(first, Math.min(last, at));
    return { value, start: within(start), end: within(end) };
  }
  const before = `<speak>${escaped(value.slice(0, start))}`;
  const inside = escaped(value.slice(start, end));
  return {
    value: `${before}${inside}${escaped(value.slice(end))}</speak>`,
    start: before.length,
    end: before.length + inside.length,
  };
}

function insert(open, close) {
  const { value, start, end } = marked();
  const inside = value.slice(start, end);
  const text = value.slice(0, start) + open + inside + close + value.slice(end);
  if (!wellFormed(inside) || !wellFormed(text)) return showFault($("form-fault"), new Fault("crossing"));
  clearFault($("form-fault"));
  return replace(text, start + open.length, end + open.length);
}

function markEmotion(name) {
  if (box.selectionStart === box.selectionEnd) return showFault($("form-fault"), new Fault("select_words"));
  return insert(`<emotion category="${name}">`, "</emotion>");
}

function markPause(ms) {
  box.setSelectionRange(box.selectionEnd, box.selectionEnd);
  insert(`<break time="${ms}ms"/>`, "");
}

// UTF-8 as most files are, else what Chinese systems wrote before; UTF-16 says so at its start.
function decode(bytes) {
  const [first, second] = bytes;
  if (first === 0xff && second === 0xfe) return new TextDecoder("utf-16le").decode(bytes);
  if (first === 0xfe && second === 0xff) return new TextDecoder("utf-16be").decode(bytes);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return new TextDecoder("gb18030").decode(bytes);
  }
}

async function readFile(file) {
  try {
    if (file.size > limit * MOST_BYTES_PER_CHAR) throw new Fault("file_big", "", { values: { max: limit } });
    const text = decode(new Uint8Array(await file.arrayBuffer())).replace(/\r\n?/g, "\n");
    if (text.includes("\0")) throw new Fault("file_kind");
    clearFault($("form-fault"));
    touched = true;
    replace(text, 0, 0);
    box.scrollTop = 0;
    $("text-hint").textContent = t("file_read", { name: file.name, n: lengthOf(text).toLocaleString() });
  } catch (error) {
    showFault($("form-fault"), error);
  }
}

function acceptFiles() {
  const editor = $("editor");
  const holds = (event) => [...event.dataTransfer.types].includes("Files");
  editor.addEventListener("dragover", (event) => {
    if (!holds(event)) return;
    event.preventDefault();
    show($("drop"), true);
  });
  editor.addEventListener("dragleave", (event) => {
    if (!editor.contains(event.relatedTarget)) show($("drop"), false);
  });
  editor.addEventListener("drop", (event) => {
    show($("drop"), false);
    if (!holds(event)) return;
    event.preventDefault();
    readFile(event.dataTransfer.files[0]);
  });
  $("open-file").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => {
    if ($("file").files.length) readFile($("file").files[0]);
    $("file").value = "";
  });
}

// A menu whose first entry is its name; it goes back there once something is chosen.
function menu(select, title, entries) {
  select.replaceChildren(el("option", { value: "", text: title }), ...entries);
}

// The emotions that may be marked, those of the chosen voice.
export function offerEmotions(names) {
  const entries = names.map((name) => el("option", { value: name, text: named("emotion", name) }));
  menu($("mark-emotion"), t("mark_emotion_short"), entries);
  $("mark-emotion").disabled = !names.length;
}

export function drawEditor() {
  if (!touched) box.value = t("text_first");
  menu($("mark-pause"), t("mark_pause_short"), PAUSES_MS.map((ms) =>
    el("option", { value: ms, text: t("pause_ms", { n: ms / 1000 }) })));
  update();
}

// The first arrow key would choose the first entry of a closed menu: it opens the menu instead.
function openByKeys(select) {
  if (!("showPicker" in select) || !CSS.supports("selector(:open)")) return;
  select.addEventListener("keydown", (event) => {
    if (!/^(Arrow|Page|Home$|End$)/.test(event.key) || select.matches(":open")) return;
    event.preventDefault();
    select.showPicker();
  });
}

export function startEditor() {
  box.addEventListener("input", () => {
    touched = true;
    update();
  });
  for (const [id, mark] of [["mark-emotion", markEmotion], ["mark-pause", markPause]]) {
    openByKeys($(id));
    $(id).addEventListener("change", () => {
      const { value } = $(id);
      $(id).value = "";
      touched = true;
      mark(value);
    });
  }
  $("unmark").addEventListener("click", () => {
    const text = bare(box.value);
    clearFault($("form-fault"));
    replace(text, 0, 0);
  });
  acceptFiles();
}
