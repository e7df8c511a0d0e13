// What happened, oldest first: who, when, what, and the words they left. The same table for alerts and cases.
import { html } from "./h.js";
import { both, t, word } from "./i18n.js";
import { exactTime, fullTime } from "./format.js";
import { people } from "./store.js";

const nameOf = (person) => people.value.find((one) => one.person === person)?.name ?? word("by", person);
const isTime = (value) => /^\d{4}-\d\d-\d\dT/.test(value);
const one = (name, value) =>
  isTime(value)
    ? `${word("field", name)} ${fullTime(value)}`
    : name === "close_reason"
      ? word("closereason", value)
      : name === "assignee"
        ? nameOf(value)
        : word("system", value);
const words = (body) =>
  Object.entries(body ?? {})
    .filter(([, value]) => typeof value === "string" && value)
    .map(([name, value]) => one(name, value));

export function Ledger({ rows, list }) {
  return html`<section>
    <h3>${t("ledger")}</h3>
    ${
      rows?.length
        ? html`<table class="ledger">
            <thead>
              <tr>
                <th>${t("ledger.at")}</th>
                <th>${t("ledger.by")}</th>
                <th>${t("ledger.what")}</th>
                <th>${t("ledger.words")}</th>
              </tr>
            </thead>
            <tbody>
              ${rows.map(
                (row, k) =>
                  html`<tr key=${k}>
                    <td class="num" title=${exactTime(row.at)}>${fullTime(row.at)}</td>
                    <td>${nameOf(row.by)} <span class="dim">${word("role", row.role)}</span></td>
                    <td>${both(row, "name") || word(list, row.action ?? row.move)}</td>
                    <td>${words(row.body).join(" · ")}</td>
                  </tr>`,
              )}
            </tbody>
          </table>`
        : html`<p class="empty">${t("ledger.empty")}</p>`
    }
  </section>`;
}
