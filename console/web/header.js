// The header: where, who, how late the data is, whether we are connected; below it the counts, each a link to its rows.
import { html } from "./h.js";
import { lang, setLang, t, word } from "./i18n.js";
import { clockTime, dayTime, span } from "./format.js";
import { link } from "./live.js";
import { choosePerson, delay, density, go, hash, help, me, now, people, person, route, setLook, summary, theme, VIEWS } from "./store.js";
import { filters, lists, touched } from "./lists.js";

const Toggle = ({ label, text, act }) => html`<button class="tool" title=${label} aria-label=${label} onClick=${act}>${text}</button>`;

function Person() {
  const pick = (event) => {
    choosePerson(event.target.value);
    touched.value += 1;
  };
  return html`<label class="who"
    ><span class="dim">${t("person")}</span>
    <select id="person" value=${person.value} onChange=${pick}>
      <option value="">${t("person.none")}</option>
      ${people.value.map((one) => html`<option key=${one.person} value=${one.person}>${one.name} · ${word("role", one.role)}</option>`)}
    </select></label
  >`;
}

function Delay() {
  const seconds = delay.value;
  const slow = seconds !== null && seconds > 60;
  return html`<span class=${`delay ${slow ? "bad" : ""}`}
      >${t("delay")}
      <b class="num"
        >${seconds === null ? "–" : seconds < 120 ? t("time.sec", { n: seconds < 10 ? seconds.toFixed(1) : Math.round(seconds) }) : span(seconds * 1000)}</b
      ></span
    >
    <span class=${`link ${link.value}`} role="status"
      ><svg width="9" height="9" viewBox="0 0 10 10" aria-hidden="true">
        ${link.value === "live" ? html`<circle cx="5" cy="5" r="4.5" />` : html`<path d="M1 1 9 9M9 1 1 9" stroke="currentColor" stroke-width="2" />`}</svg
      >${t(`link.${link.value}`)}</span
    >`;
}

export function Header() {
  return html`<header class="top">
    <h1>${t("desk")}</h1>
    <span class="place">${summary.value?.title ?? ""}</span>
    <${Person} />
    <span class="space"></span>
    <span class="clock num">${dayTime(now.value)} ${clockTime(now.value)}</span>
    <${Delay} />
    <nav class="tools" aria-label=${t("look")}>
      <${Toggle}
        label=${t("look.lang")}
        text=${lang.value === "en" ? "中文" : "EN"}
        act=${() => setLang(lang.value === "en" ? "zh-CN" : "en")}
      />
      <${Toggle}
        label=${t("look.density")}
        text=${t(`density.${density.value}`)}
        act=${() => setLook("density", density.value === "compact" ? "comfortable" : "compact")}
      />
      <${Toggle}
        label=${t("look.theme")}
        text=${t(`theme.${theme.value}`)}
        act=${() => setLook("theme", theme.value === "dark" ? "light" : "dark")}
      />
      <${Toggle}
        label=${t("help")}
        text="?"
        act=${() => {
          help.value = true;
        }}
      />
    </nav>
  </header>`;
}

const COUNTS = [
  ["unhandled", "alerts", { state: "open" }],
  ["overdue", "alerts", { overdue: "true" }],
  ["leads", "leads", { state: "open" }],
  ["cases", "cases", {}],
  ["offline", "devices", {}],
];

/** A count of the summary; a count by state is the sum of the states that still wait for somebody. */
function count(name) {
  const found = summary.value?.counts?.[name];
  if (found && typeof found === "object")
    return Object.entries(found).reduce(
      (sum, [state, n]) => sum + (["closed", "withdrawn", "dismissed", "cased"].includes(state) ? 0 : n),
      0,
    );
  return found ?? "–";
}

export function Counts() {
  return html`<div class="counts">
    ${COUNTS.map(
      ([name, view, filter]) =>
        html`<a key=${name} href=${hash({ view, ...filter }, {})} class=${`count ${name} ${count(name) ? "" : "zero"}`}
          >${t(`count.${name}`)} <b class="num">${count(name)}</b></a
        >`,
    )}
    <span class="space"></span>
    <nav class="views" aria-label=${t("views")}>
      ${VIEWS.map(
        (view) =>
          html`<a key=${view} href=${hash({ view }, {})} aria-current=${route.value.view === view ? "page" : undefined}
            >${t(`view.${view}`)}</a
          >`,
      )}
    </nav>
  </div>`;
}

const Choice = ({ name, options, list, value }) =>
  html`<label
    >${t(`filter.${name}`)}
    <select value=${value} onChange=${(event) => go({ [name]: event.target.value })}>
      ${options.map((one) => html`<option key=${one} value=${one}>${one === "" || one === "all" ? t("filter.all") : word(list, one)}</option>`)}
    </select></label
  >`;

export function Filters({ view }) {
  const set = filters(view);
  const seen = lists[view].rows.value;
  const rules = [...new Set([...seen.map((row) => row.rule).filter(Boolean), ...(set.rule ? [set.rule] : [])])].sort();
  const state = route.value.state ?? (view === "alerts" ? "open" : "all");
  return html`<div class="filters">
    ${
      view === "alerts"
        ? html`<${Choice} name="state" list="state" options=${["open", "acked", "shelved", "closed", "withdrawn", "all"]} value=${state} />
            <${Choice} name="level" list="level" options=${["", "1", "2", "3", "4"]} value=${set.level} />
            <${Choice} name="rule" list="rule" options=${["", ...rules]} value=${set.rule} />
            <${Choice} name="active" list="active" options=${["", "true", "false"]} value=${set.active} />
            <${Choice} name="folded" list="folded" options=${["false", "true", "all"]} value=${route.value.folded ?? "false"} />`
        : ""
    }
    ${set.overdue === "true" ? html`<a class="chip late" href=${hash({ overdue: "" })}>${t("overdue")} ✕</a>` : ""}
    ${view === "leads" ? html`<${Choice} name="state" list="leadstate" options=${["all", "open", "cased", "dismissed", "withdrawn"]} value=${state} />` : ""}
    ${view === "cases" ? html`<${Choice} name="state" list="casestate" options=${["all", "open", "dispatched", "verified", "closed"]} value=${state} />` : ""}
    ${set.site ? html`<a class="chip" href=${hash({ site: "" })}>${set.site} ✕</a>` : ""}
    <span class="space"></span>
    <span class="dim num">${t("rows", { n: seen.length })}</span>
  </div>`;
}
