// The watch desk: header, counts, queue, detail; one module a pane. Starts by loading words, then listening, then reading.
import { render } from "preact";
import { useEffect } from "preact/hooks";
import { html } from "./h.js";
import { lang, loadWords, t } from "./i18n.js";
import { call } from "./api.js";
import { span } from "./format.js";
import { connect, link } from "./live.js";
import { Counts, Filters, Header } from "./header.js";
import { Queue } from "./queue.js";
import { AlertDetail } from "./detail.js";
import { LeadDetail } from "./lead.js";
import { CaseDetail } from "./case.js";
import { Books, Devices } from "./panes.js";
import { Conditions, watchConditions } from "./conditions.js";
import { Dialog } from "./forms.js";
import { Help, KeyBar, onKey } from "./keys.js";
import { delay, notice, people, route, selection, summary } from "./store.js";
import { filters, lists, load, receive, refreshSummary } from "./lists.js";

const DETAILS = { alert: AlertDetail, lead: LeadDetail, case: CaseDetail };
const WIDE = { devices: Devices, books: Books };

function Detail() {
  const open = selection.value;
  const Pane = DETAILS[open?.kind];
  return html`<main class="detail" id="detail" tabindex="-1">
    ${Pane ? html`<${Pane} key=${open.id} id=${open.id} />` : html`<p class="empty">${t("empty.detail")}</p>`}
  </main>`;
}

function Notice() {
  const said = notice.value;
  return html`<div class="notices" role="status">
    ${
      said
        ? html`<div class=${`notice ${said.kind}`}>
            ${said.text}<button
              class="tool"
              aria-label=${t("cancel")}
              onClick=${() => {
                notice.value = null;
              }}
            >
              ✕
            </button>
          </div>`
        : ""
    }
  </div>`;
}

function Banner() {
  const stale = delay.value !== null && delay.value > 300;
  if (link.value === "lost") return html`<div class="banner" role="alert">${t("banner.lost")}</div>`;
  return stale ? html`<div class="banner" role="alert">${t("banner.delay", { span: span(delay.value * 1000) })}</div>` : null;
}

function App() {
  const { view } = route.value;
  const Wide = WIDE[view];
  const known = lists[view] ? view : "alerts";
  const wanted = JSON.stringify(filters(known));
  useEffect(() => {
    if (lists[view]) load(view);
  }, [view, wanted]);
  useEffect(() => {
    document.title = `${summary.value?.counts?.unhandled ? `(${summary.value.counts.unhandled}) ` : ""}${t("desk")}`;
  }, [lang.value, summary.value]);
  return html`<${Header} /><${Counts} /><${Banner} /><${Conditions} />
    ${
      Wide
        ? html`<main class="full" id="detail">
            <h2 class="visually-hidden">${t(`view.${view}`)}</h2>
            <${Wide} />
          </main>`
        : html`<div class=${`split ${selection.value ? "opened" : ""}`}>
            <section class="queue" aria-label=${t(`view.${known}`)}>
              <${Filters} view=${known} /><${Queue} key=${known} view=${known} />
            </section>
            <${Detail} />
          </div>`
    }
    <${KeyBar} /><${Notice} /><${Dialog} /><${Help} />`;
}

await loadWords();
connect(receive);
watchConditions();
addEventListener("keydown", onKey);
render(html`<${App} />`, document.getElementById("app"));
try {
  const [found] = await Promise.all([call("/api/v1/people"), refreshSummary()]);
  people.value = found.people;
} catch (error) {
  notice.value = { kind: "fault", text: error.message };
}
