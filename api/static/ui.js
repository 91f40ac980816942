// What both pages share: elements, the switches at the top, and faults in plain words.

import { duration, known, language, t, translate } from "./i18n.js";

export const $ = (id) => document.getElementById(id);

// An element with properties (`class`, `text`, `onclick`, any attribute) and children.
export function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name === "text") node.textContent = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}

// localStorage may be closed to us; then nothing is remembered.
export function kept(name) {
  try { return localStorage.getItem(name); } catch { return null; }
}

export function keep(name, value) {
  try { localStorage.setItem(name, value); } catch { /* as above */ }
}

export function show(node, visible) {
  node.hidden = !visible;
}

// Texts as `title_<page>`; `redraw` writes again what a page made itself.
export function startFrame(redraw) {
  const { page } = document.body.dataset;
  const draw = () => {
    document.title = t(`title_${page}`);
    translate();
    redraw();
  };
  $("language").addEventListener("click", () => {
    const other = language() === "zh" ? "en" : "zh";
    keep("ttsfarm.language", other);
    document.documentElement.lang = other === "zh" ? "zh-CN" : "en";
    draw();
  });
  $("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme
      ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    keep("ttsfarm.theme", root.dataset.theme);
  });
  document.querySelector(`[data-nav=${page}]`).setAttribute("aria-current", "page");
  draw();
}

// What went wrong and what to do about it, with the farm's own words for who asks.
export function showFault(box, fault, advice = fault.code && `fault_${fault.code}`) {
  const told = advice && known(advice) ? t(advice, fault.values) : fault.message;
  const parts = [el("p", { text: told })];
  if (fault.retryAfter_s) {
    parts.push(el("p", { text: t("fault_retry_after", { time: duration(fault.retryAfter_s) }) }));
  }
  const details = [...new Set([told === fault.message ? "" : fault.message, ...(fault.each || [])])];
  const rest = details.filter(Boolean).map((text) => el("p", { text }));
  if (fault.requestId) rest.push(el("p", { text: `${t("fault_request")} ${fault.requestId}` }));
  if (rest.length) parts.push(el("details", {}, el("summary", { text: t("fault_details") }), ...rest));
  box.replaceChildren(...parts);
  show(box, true);
}

export function clearFault(box) {
  box.replaceChildren();
  show(box, false);
}
