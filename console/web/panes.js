// Devices and books: plain tables on the full width, each with what an empty one means.
import { html } from "./h.js";
import { t, word } from "./i18n.js";
import { age, fullTime } from "./format.js";
import { useThing } from "./detail.js";
import { hash, now } from "./store.js";

export function Devices() {
  const [data, fault] = useThing("/api/v1/devices");
  if (fault) return html`<p class="fault" role="alert">${fault}</p>`;
  const rows = [...(data?.devices ?? [])].sort((a, b) => Number(a.online) - Number(b.online) || String(a.mn).localeCompare(String(b.mn)));
  if (!rows.length) return html`<p class="empty">${t(data ? "empty.devices" : "loading")}</p>`;
  return html`<table class="wide">
    <thead>
      <tr>
        <th>${t("device.link")}</th>
        <th>MN</th>
        <th>${t("site")}</th>
        <th>${t("point")}</th>
        <th>${t("device.seen")}</th>
      </tr>
    </thead>
    <tbody>
      ${rows.map(
        (row) =>
          html`<tr key=${row.mn}>
            <td>${row.online == null ? "–" : html`<span class=${`chip ${row.online ? "on" : "late"}`}>${word("online", String(row.online))}</span>`}</td>
            <td class="num">${row.mn}</td>
            <td><a href=${hash({ view: "alerts", state: "all", site: row.site }, {})}>${row.site ?? "–"}</a></td>
            <td class="num">${row.point ?? "–"}</td>
            <td class="num" title=${fullTime(row.last_seen)}>${row.last_seen ? t("ago", { span: age(row.last_seen, now.value) }) : "–"}</td>
          </tr>`,
      )}
    </tbody>
  </table>`;
}

const show = (value) => (typeof value === "number" ? value.toLocaleString() : String(value ?? "–"));
/** A nested count on one line; nothing counted yet is a dash. */
const flat = (value) =>
  typeof value === "object" && value !== null
    ? Object.entries(value)
        .map(([name, n]) => `${word("books", name)} ${show(n)}`)
        .join(" · ") || "–"
    : show(value);

function Table({ name, rows }) {
  return html`<section>
    <h3>${word("books", name)}</h3>
    <table class="ledger">
      <tbody>
        ${Object.entries(rows).map(
          ([key, value]) =>
            html`<tr key=${key}>
              <th scope="row">${word("books", key)}</th>
              <td class="num right">${flat(value)}</td>
            </tr>`,
        )}
      </tbody>
    </table>
  </section>`;
}

/** The books of the stream: nothing received may vanish. */
export function Books() {
  const [data, fault] = useThing("/api/v1/books");
  if (fault) return html`<p class="fault" role="alert">${fault}</p>`;
  if (!data || !Object.keys(data).length) return html`<p class="empty">${t(data ? "empty.books" : "loading")}</p>`;
  const plain = Object.fromEntries(Object.entries(data).filter(([, value]) => typeof value !== "object" || value === null));
  const tables = Object.entries(data).filter(([, value]) => typeof value === "object" && value !== null);
  return html`<div class="books">
    <p class="dim">${t("books.rule")}</p>
    ${Object.keys(plain).length ? html`<${Table} name="books" rows=${plain} />` : ""}
    ${tables.map(([name, rows]) => html`<${Table} key=${name} name=${name} rows=${rows} />`)}
  </div>`;
}
