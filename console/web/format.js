// Numbers and times as people read them: China Standard Time, tabular, and always with an age beside.
import { lang, t } from "./i18n.js";
import { now } from "./store.js";

const ZONE = "Asia/Shanghai";
const formats = new Map();

function format(name, options) {
  const key = `${lang.value}/${name}`;
  if (!formats.has(key)) formats.set(key, new Intl.DateTimeFormat(lang.value, { timeZone: ZONE, hourCycle: "h23", ...options }));
  return formats.get(key);
}

const ms = (time) => (typeof time === "number" ? time : Date.parse(time));
const DAY = { month: "2-digit", day: "2-digit" };
const MINUTE = { hour: "2-digit", minute: "2-digit" };

export const clockTime = (time) => format("clock", { ...MINUTE, second: "2-digit" }).format(ms(time));
export const minuteTime = (time) => format("minute", MINUTE).format(ms(time));
export const dayTime = (time) => format("day", DAY).format(ms(time));
const yearOf = (time) => format("year", { year: "numeric" }).format(ms(time));
/** Day and minute, with the year only where it is not this one. */
export const fullTime = (time) =>
  !time ? "–" : yearOf(time) === yearOf(now.peek()) ? format("full", { ...DAY, ...MINUTE }).format(ms(time)) : yearTime(time);
const yearTime = (time) => format("dated", { year: "numeric", ...DAY, ...MINUTE }).format(ms(time));
export const exactTime = (time) =>
  time ? format("exact", { year: "numeric", ...DAY, ...MINUTE, second: "2-digit" }).format(ms(time)) : "–";
/** `2026-11-24T08:00:00+08:00`, as the API wants it. */
export const rfc3339 = (time) => new Date(time + 8 * 3600e3).toISOString().slice(0, 19) + "+08:00";

/** A length of time in its largest unit: 12 min, 1 h, 3 d. @param {number} span ms */
export function span(length) {
  const minutes = Math.floor(Math.abs(length) / 60000);
  if (minutes < 1) return t("time.now");
  if (minutes < 60) return t("time.min", { n: minutes });
  if (minutes < 48 * 60) return t("time.hour", { n: Math.floor(minutes / 60), m: minutes % 60 ? t("time.min", { n: minutes % 60 }) : "" });
  return t("time.day", { n: Math.floor(minutes / 1440) });
}

export const age = (time, now) => (time ? span(now - ms(time)) : "–");

/** A measured value: up to four significant digits, no trailing zeros; a dash for nothing. */
export function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const size = Math.abs(value);
  const digits = size >= 1000 ? 0 : size >= 100 ? 1 : size >= 10 ? 2 : 3;
  return new Intl.NumberFormat(lang.value, { maximumFractionDigits: digits, useGrouping: size >= 10000 }).format(value);
}

export const percent = (value) => (value === null || value === undefined ? "–" : `${Math.round(value * 100)} %`);

/** A unit as every font can show it. */
export const unitText = (unit) => (unit ?? "").replace("℃", "°C");
