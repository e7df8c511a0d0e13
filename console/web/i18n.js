// Words: one flat catalogue a language, loaded before the first paint; `t` reads the current one.
import { signal } from "@preact/signals";

export const LANGUAGES = ["zh-CN", "en"];
export const lang = signal(document.documentElement.lang);
const catalogues = {};

export async function loadWords() {
  await Promise.all(
    LANGUAGES.map(async (one) => {
      catalogues[one] = await (await fetch(`/web/${one}.json`)).json();
    }),
  );
}

export function setLang(one) {
  lang.value = one;
  document.documentElement.lang = one;
  localStorage.setItem("lang", one);
}

/** @param {string} key @param {Record<string, any>} [values] for `{name}` places */
export function t(key, values) {
  const text = catalogues[lang.value]?.[key] ?? key;
  return values ? text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "") : text;
}

/** The word of a closed list (`state.open`), or the code itself when the list has grown since. */
export const word = (list, code) => catalogues[lang.value]?.[`${list}.${code}`] ?? code ?? "";

/** A field that exists in both languages: `reason_zh`/`reason_en`, `name_zh`/`name_en`. */
export const both = (row, name) => row?.[`${name}_${lang.value === "en" ? "en" : "zh"}`] ?? row?.[`${name}_zh`] ?? row?.[name] ?? "";
