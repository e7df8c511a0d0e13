// What other departments say of a site: permits, inspections, penalties, each with its source; and where sources differ.
import { html } from "./h.js";
import { t, word } from "./i18n.js";
import { exactTime, number } from "./format.js";
import { useThing } from "./detail.js";

const known = (row) => [row.result, row.amount ? `${number(Number(row.amount))} ${t("departments.yuan")}` : ""].filter(Boolean).join(" · ");
const newestFirst = (rows) => [...rows].sort((a, b) => b.date.localeCompare(a.date));
const source = (row) => t("departments.source", { source: row.source, row: row.row, sha256: row.sha256 });

const FactRow = ({ row }) =>
  html`<tr title=${source(row)}>
    <td class="num">${row.date}</td>
    <td>${word("factkind", row.kind)}</td>
    <td>${row.number}</td>
    <td>${known(row)}</td>
    <td title=${exactTime(row.fetched)}>${row.authority || row.department}</td>
  </tr>`;

const Conflict = ({ one }) =>
  html`<li>
    ${t("departments.conflict", {
      field: `${one.key} ${one.field}`,
      value: one.value,
      source: one.source,
      others: one.others.map((other) => `${other.value} (${other.source})`).join(t("departments.and")),
    })}
  </li>`;

/** Nothing at all where no department's data is taken in. */
export function Departments({ site }) {
  const [card] = useThing(`/api/v1/sites/${encodeURIComponent(site)}`);
  const { facts = [], conflicts = [] } = card?.reference ?? {};
  if (!facts.length && !conflicts.length) return "";
  return html`<section class="departments">
    <h3>${t("departments")}</h3>
    <table class="ledger">
      <thead>
        <tr>
          ${["date", "kind", "number", "result", "authority"].map((name) => html`<th key=${name}>${t(`departments.${name}`)}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${newestFirst(facts).map((row) => html`<${FactRow} key=${`${row.source}/${row.row}`} row=${row} />`)}
      </tbody>
    </table>
    <ul class="links">
      ${conflicts.map((one) => html`<${Conflict} key=${one.table + one.key + one.field} one=${one} />`)}
    </ul>
  </section>`;
}
