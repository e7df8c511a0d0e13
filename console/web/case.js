// One case on one scroll: path and clock, the moves the table allows this person, the evidence, the ledger.
import { html } from "./h.js";
import { both, t, word } from "./i18n.js";
import { exactTime, fullTime } from "./format.js";
import { Chip, Due, Severity } from "./severity.js";
import { Fact, useThing } from "./detail.js";
import { LeadBody, alertsOf } from "./lead.js";
import { Ledger } from "./ledger.js";
import { Steps, start } from "./forms.js";
import { call } from "./api.js";
import { hash, people } from "./store.js";
import { put, touched } from "./lists.js";

const PATH = ["open", "dispatched", "verified", "closed"];

function Path({ state }) {
  const at = PATH.indexOf(state);
  return html`<ol class="path" aria-label=${t("case.path")}>
    ${PATH.map(
      (one, k) =>
        html`<li key=${one} class=${k < at ? "past" : k === at ? "here" : ""} aria-current=${k === at ? "step" : undefined}>
          ${word("casestate", one)}
        </li>`,
    )}
  </ol>`;
}

/** The step forward first: it is the one expected next. */
const ahead = (steps, state) =>
  [...(steps ?? [])].sort((a, b) => Number(PATH.indexOf(b.to) > PATH.indexOf(state)) - Number(PATH.indexOf(a.to) > PATH.indexOf(state)));

const withPeople = (step) => ({
  ...step,
  fields: step.fields?.map((field) =>
    field.name === "assignee" && people.value.length
      ? {
          ...field,
          choices: people.value
            .filter((one) => ["officer", "responsible_unit"].includes(one.role))
            .map((one) => ({ code: one.person, name_zh: one.name, name_en: one.name })),
        }
      : field,
  ),
});

export function CaseDetail({ id }) {
  const [found, fault, setFound] = useThing(`/api/v1/cases/${id}`);
  if (fault) return html`<p class="fault" role="alert">${fault}</p>`;
  if (!found || (found.id !== id && found.number !== id)) return html`<p class="empty">${t("loading")}</p>`;
  const step = (move) =>
    start(withPeople(move), found.number, async (body) => {
      const row = await call(`/api/v1/cases/${found.id}/moves`, { move: move.move, body: { ...body, version: found.version } });
      put("cases", row);
      if (row.moves) setFound({ ...found, ...row });
      touched.value += 1;
    });
  const assignee = people.value.find((one) => one.person === found.assignee)?.name ?? found.assignee;
  return html`<article class="thing" aria-labelledby="thing-title">
    <div class="kicker">
      <${Severity} level=${found.level ?? 4} /><${Chip} list="casestate" code=${found.state} /><${Due} row=${found} />
    </div>
    <h2 id="thing-title"><span class="num">${found.number}</span> · ${found.site_name}</h2>
    <p class="sentence">${both(found.lead, "reason")}</p>
    <${Path} state=${found.state} />
    <${Steps} steps=${ahead(found.moves, found.state)} onStep=${step} />
    <dl class="facts">
      <${Fact} name=${t("case.assignee")}>${assignee ?? "–"}<//>
      <${Fact} name=${t("case.verdict")}>${found.verdict ?? "–"}<//>
      <${Fact} name=${t("case.opened")} title=${exactTime(found.opened)}>${fullTime(found.opened)}<//>
      <${Fact} name=${t("lead")}
        >${found.lead?.id ? html`<a href=${hash({ view: "leads", sel: `lead/${found.lead.id}` }, {})}>${word("leadtype", found.lead.type)}</a>` : "–"}<//
      >
    </dl>
    ${
      found.finding
        ? html`<section>
            <h3>${t("case.finding")}</h3>
            <p class="prose">${found.finding}</p>
          </section>`
        : ""
    }
    ${
      found.conclusion
        ? html`<section>
            <h3>${t("case.conclusion")}</h3>
            <p class="prose">${found.conclusion}</p>
          </section>`
        : ""
    }
    <${Ledger} rows=${found.events} list="move" />
    ${found.lead ? html`<${LeadBody} lead=${found.lead} alerts=${alertsOf(found)} />` : ""}
  </article>`;
}
