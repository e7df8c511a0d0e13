// One alert: what the rule saw, as a sentence, as numbers, as a chart; what may be done; what was done.
import { useEffect, useState } from "preact/hooks";
import { html } from "./h.js";
import { both, t, word } from "./i18n.js";
import { age, exactTime, fullTime, number, span, unitText } from "./format.js";
import { Chip, Due, Severity } from "./severity.js";
import { Chart } from "./chart.js";
import { Ledger } from "./ledger.js";
import { Steps, start } from "./forms.js";
import { call } from "./api.js";
import { person, hash, now } from "./store.js";
import { put, touched } from "./lists.js";

/** Read `path` whenever it, the person or the thing itself changes; keep what is shown until the new one is there. */
export function useThing(path) {
  const [thing, setThing] = useState(null);
  const [fault, setFault] = useState("");
  useEffect(() => {
    let gone = false;
    call(path).then(
      (data) => {
        if (!gone) {
          setThing(data);
          setFault("");
        }
      },
      (error) => {
        if (!gone) setFault(error.message);
      },
    );
    return () => {
      gone = true;
    };
  }, [path, person.value, touched.value]);
  return [thing, fault, setThing];
}

export const Fact = ({ name, children, title }) =>
  html`<div class="fact">
    <dt>${name}</dt>
    <dd class="num" title=${title}>${children}</dd>
  </div>`;
export const subjectOf = (row) => [row.site_name, row.point_name, both(row, "factor")].filter(Boolean).join(" · ");
export const ALERT_KEYS = { ack: "Alt+K", shelve: "Alt+S", close: "Alt+X" };

/** Do one step of an alert. */
export function actOn(alert, step, then) {
  const subject = subjectOf(alert);
  return start(step, subject, async (body) => {
    const reason = body.explanation ? `${body.reason}:${body.explanation}` : body.reason;
    const row = await call(`/api/v1/alerts/${alert.id}/actions`, { action: step.action, reason, until: body.until });
    put("alerts", row);
    touched.value += 1;
    then?.(row);
  });
}

function Facts({ alert }) {
  const ratio = alert.limit ? alert.observed / alert.limit : null;
  const unit = alert.unit ? html` <span class="unit">${unitText(alert.unit)}</span>` : "";
  return html`<dl class="facts">
    <${Fact} name=${t("observed")}><b>${number(alert.observed)}</b>${unit}<//>
    <${Fact} name=${t("limit")}>${number(alert.limit)}${alert.limit == null ? "" : unit}<//>
    ${ratio ? html`<${Fact} name=${t("ratio")}>${number(Math.round(ratio * 100) / 100)} ${t("times")}<//>` : ""}
    ${alert.expected == null || alert.expected === alert.limit ? "" : html`<${Fact} name=${t("expected")}>${number(alert.expected)}${unit}<//>`}
    <${Fact} name=${t("period")}>${word("period", alert.period)}<//>
    <${Fact} name=${t("opened")} title=${exactTime(alert.opened)}
      >${fullTime(alert.opened)} <span class="unit">${t("ago", { span: age(alert.opened, now.value) })}</span><//
    >
    <${Fact} name=${t("lasted")} title=${exactTime(alert.closed)}
      >${span((alert.closed ? Date.parse(alert.closed) : now.value) - Date.parse(alert.opened))}<//
    >
    <${Fact} name=${t("rule")} title=${`${t("plan")} ${alert.plan}`}
      ><a href=${hash({ view: "alerts", state: "all", rule: alert.rule, sel: `alert/${alert.id}` }, {})}>${word("rule", alert.rule)}</a><//
    >
  </dl>`;
}

const LeadLink = ({ lead }) =>
  html`<li>
    <a href=${hash({ view: "leads", sel: `lead/${lead.id}` }, {})}>${t("lead")} · ${word("leadtype", lead.type)}</a> ${both(lead, "reason")}
  </li>`;

const CaseLink = ({ one }) =>
  html`<li>
    <a href=${hash({ view: "cases", sel: `case/${one.id}` }, {})}>${one.number}</a> <${Chip} list="casestate" code=${one.state} />
  </li>`;

function Links({ alert }) {
  const leads = alert.leads ?? [];
  return html`<section>
    <h3>${t("links")}</h3>
    ${
      leads.length
        ? html`<ul class="links">
            ${leads.map((lead) => html`<${LeadLink} key=${lead.id} lead=${lead} />`)}
            ${alert.case ? html`<${CaseLink} one=${alert.case} />` : ""}
          </ul>`
        : html`<p class="empty">${t("links.empty")}</p>`
    }
  </section>`;
}

export function AlertDetail({ id }) {
  const [alert, fault] = useThing(`/api/v1/alerts/${id}`);
  if (fault) return html`<p class="fault" role="alert">${fault}</p>`;
  if (!alert || alert.id !== id) return html`<p class="empty">${t("loading")}</p>`;
  return html`<article class="thing" aria-labelledby="thing-title">
    <div class="kicker">
      <${Severity} level=${alert.level} /><${Chip} list="state" code=${alert.state} /><${Chip}
        list="active"
        code=${String(alert.active)}
        tone=${alert.active ? "on" : "quiet"}
      />
      <${Due} row=${alert} />
      ${alert.folded ? html`<span class="chip">${t("folded")} ${alert.folded}</span>` : ""}
    </div>
    <h2 id="thing-title">
      <a href=${hash({ view: "alerts", state: "all", site: alert.site, sel: `alert/${id}` }, {})}>${alert.site_name}</a
      >${alert.point_name ? ` · ${alert.point_name}` : ""}${alert.factor ? ` · ${both(alert, "factor")}` : ""}
    </h2>
    <p class="sentence">${both(alert, "reason")}</p>
    <${Steps} steps=${alert.allowed} keys=${ALERT_KEYS} onStep=${(step) => actOn(alert, step)} />
    <${Facts} alert=${alert} />
    <${Chart} alert=${alert} />
    <${Links} alert=${alert} />
    <${Ledger} rows=${alert.actions} list="action" />
  </article>`;
}
