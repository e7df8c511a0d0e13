// One violation lead: the evidence by independent family, the clause, what is missing, and the case it may open.
import { html } from "./h.js";
import { both, t, word } from "./i18n.js";
import { fullTime, percent } from "./format.js";
import { Chip, Due, Severity } from "./severity.js";
import { Fact, useThing } from "./detail.js";
import { Steps, start } from "./forms.js";
import { call } from "./api.js";
import { go, hash } from "./store.js";
import { touched } from "./lists.js";
import { Departments } from "./departments.js";

const list = (value) => (Array.isArray(value) ? value : value ? [value] : []);

function Families({ lead, alerts }) {
  const counts = {};
  for (const alert of alerts) counts[alert.family] = (counts[alert.family] ?? 0) + 1;
  const names = [...new Set([...list(lead.families), ...Object.keys(counts)])];
  return html`<ul class="families">
    ${names.map(
      (name) =>
        html`<li key=${name}>
          <span>${word("family", name)}</span> <span class="dots" aria-hidden="true">${"●".repeat(Math.min(counts[name] ?? 1, 5))}</span>
          ${counts[name] ? html`<span class="dim num">${t("alerts.n", { n: counts[name] })}</span>` : ""}
        </li>`,
    )}
  </ul>`;
}

function AlertLinks({ alerts }) {
  if (!alerts.length) return html`<p class="empty">${t("lead.alerts.empty")}</p>`;
  return html`<table class="ledger">
    <thead>
      <tr>
        <th>${t("filter.level")}</th>
        <th>${t("opened")}</th>
        <th>${t("filter.rule")}</th>
        <th>${t("why")}</th>
      </tr>
    </thead>
    <tbody>
      ${alerts.map(
        (alert) =>
          html`<tr key=${alert.id}>
            <td><${Severity} level=${alert.level} brief /></td>
            <td class="num">${fullTime(alert.opened)}</td>
            <td>${word("rule", alert.rule)}</td>
            <td><a href=${hash({ view: "alerts", state: "all", sel: `alert/${alert.id}` }, {})}>${both(alert, "reason")}</a></td>
          </tr>`,
      )}
    </tbody>
  </table>`;
}

/** What every lead shows; the case page shows it too. */
export function LeadBody({ lead, alerts }) {
  return html`<section>
      <dl class="facts">
        <${Fact} name=${t("lead.probability")}><b>${percent(lead.probability)}</b> <span class="unit">${t("lead.notfinding")}</span><//>
        <${Fact} name=${t("lead.grade")}>${lead.grade ?? "–"}<//>
        <${Fact} name=${t("lead.missing")}
          >${
            list(lead.missing)
              .map((one) => word("missing", one))
              .join("、") || t("none")
          }<//
        >
        <${Fact} name=${t("lead.window")}>${fullTime(lead.window?.start)} – ${fullTime(lead.window?.end)}<//>
      </dl>
    </section>
    <section>
      <h3>${t("lead.families")}</h3>
      <${Families} lead=${lead} alerts=${alerts} />
    </section>
    <section>
      <h3>${t("lead.clause")}</h3>
      <p class="clause">
        ${
          list(lead.clause)
            .map((one) => (typeof one === "string" ? one : both(one, "text")))
            .join("；") || t("none")
        }
      </p>
    </section>
    <section>
      <h3>${t("lead.alerts")}</h3>
      <${AlertLinks} alerts=${alerts} />
    </section>
    <${Departments} site=${lead.site} />`;
}

export const alertsOf = (thing) => list(thing.alert_rows ?? thing.alerts).filter((one) => typeof one === "object");

export function LeadDetail({ id }) {
  const [lead, fault] = useThing(`/api/v1/leads/${id}`);
  if (fault) return html`<p class="fault" role="alert">${fault}</p>`;
  if (!lead || lead.id !== id) return html`<p class="empty">${t("loading")}</p>`;
  const step = (one) =>
    start(one, lead.site_name, async (body) => {
      const made = await call(`/api/v1/leads/${id}/${one.action === "open_case" ? "case" : "dismissal"}`, body);
      touched.value += 1;
      if (one.action === "open_case") go({ view: "cases", state: "", sel: `case/${made.id}` });
    });
  return html`<article class="thing" aria-labelledby="thing-title">
    <div class="kicker">
      <${Severity} level=${lead.level ?? 4} /><${Chip} list="leadstate" code=${lead.state ?? "open"} /><${Due} row=${lead} />
    </div>
    <h2 id="thing-title">${lead.site_name}${lead.point_name ? ` · ${lead.point_name}` : ""} · ${word("leadtype", lead.type)}</h2>
    <p class="sentence">${both(lead, "reason")}</p>
    ${
      lead.case
        ? html`<p class="steps">
            <a class="button primary" href=${hash({ view: "cases", sel: `case/${lead.case.id}` }, {})}>${lead.case.number}</a>
          </p>`
        : html`<${Steps} steps=${lead.allowed} onStep=${step} />`
    }
    <${LeadBody} lead=${lead} alerts=${alertsOf(lead)} />
  </article>`;
}
