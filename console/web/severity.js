// The four levels: always a shape, a word and a colour together.
import { html } from "./h.js";
import { t, word } from "./i18n.js";
import { exactTime, span } from "./format.js";
import { now } from "./store.js";

const SHAPES = {
  1: html`<circle cx="6" cy="6" r="5" />`,
  2: html`<path d="M6 .5 11.5 6 6 11.5 .5 6Z" />`,
  3: html`<path d="M6 1 11.5 11H.5Z" />`,
  4: html`<rect x="1.5" y="1.5" width="9" height="9" />`,
};
export const ROMAN = { 1: "Ⅰ", 2: "Ⅱ", 3: "Ⅲ", 4: "Ⅳ" };

export function Severity({ level, brief = false }) {
  return html`<span class="sev sev${level}"
    ><svg viewBox="0 0 12 12" width="11" height="11" aria-hidden="true">${SHAPES[level] ?? SHAPES[4]}</svg
    ><span>${ROMAN[level] ?? "–"} ${brief ? "" : t(`level.${level}`)}</span></span
  >`;
}

export function Chip({ list, code, tone = "" }) {
  return html`<span class=${`chip ${tone}`}>${word(list, code)}</span>`;
}

/** The deadline of an alert, lead or case: what is left, or how long it is over. */
export function Due({ row }) {
  if (!row.due) return "";
  const left = Date.parse(row.due) - now.value;
  return html`<span class=${`chip ${left < 0 ? "late" : "quiet"}`} title=${exactTime(row.due)}
    >${t(left < 0 ? "clock.over" : "clock.left", { span: span(left) })}</span
  >`;
}
