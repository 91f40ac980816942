"use strict";
// Before anything is drawn: the colours and the language this browser chose earlier.
{
  const kept = (name) => { try { return localStorage.getItem(name); } catch { return null; } };
  const theme = kept("ttsfarm.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  const preferred = (navigator.languages || [navigator.language]).find((one) => /^(zh|en)\b/i.test(one));
  const language = kept("ttsfarm.language") || (/^zh/i.test(preferred || "") ? "zh" : "en");
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
}
