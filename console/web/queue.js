// The queue on the left: a window onto up to 10,000 rows, moved by keyboard, that never jumps when something new arrives.
import { useEffect, useRef, useState } from "preact/hooks";
import { html } from "./h.js";
import { both, t, word } from "./i18n.js";
import { age, fullTime, percent } from "./format.js";
import { Chip, Due, Severity } from "./severity.js";
import { density, go, now, paused, route, selection } from "./store.js";
import { KINDS, lists, load, more, showFresh, waiting } from "./lists.js";

const HEIGHTS = { comfortable: 54, compact: 30 };
const OVERSCAN = 8;
const where = (row) => [row.site_name, row.point_name].filter(Boolean).join(" · ");

function AlertRow({ row }) {
  return html`<${Severity} level=${row.level} />
    <span class="what">${both(row, "reason")}</span>
    <span class="where">${where(row)}${row.factor ? html` · <span class="num">${both(row, "factor")}</span>` : ""}</span>
    <span class="marks"
      >${row.overdue ? html`<span class="chip late">${t("overdue")}</span>` : ""}
      ${row.state === "open" ? "" : html`<${Chip} list="state" code=${row.state} />`}
      ${row.active ? "" : html`<span class="chip quiet">${t("over")}</span>`}</span
    >
    <span class="age" title=${fullTime(row.opened)}>${age(row.opened, now.value)}</span>`;
}

function LeadRow({ row }) {
  return html`<${Severity} level=${row.level ?? 4} />
    <span class="what">${both(row, "reason") || word("leadtype", row.type)}</span>
    <span class="where">${where(row)}</span>
    <span class="marks"
      ><span class="chip">${t("lead.probability")} ${percent(row.probability)}</span
      >${row.state && row.state !== "open" ? html`<${Chip} list="leadstate" code=${row.state} />` : ""}</span
    >
    <span class="age" title=${fullTime(row.opened)}>${age(row.opened, now.value)}</span>`;
}

function CaseRow({ row }) {
  return html`<${Severity} level=${row.level ?? 4} />
    <span class="what"><span class="num">${row.number}</span> ${row.site_name}</span>
    <span class="where">${[both(row, "reason"), row.verdict].filter(Boolean).join(" · ")}</span>
    <span class="marks"><${Due} row=${row} /><${Chip} list="casestate" code=${row.state} /></span>
    <span class="age" title=${fullTime(row.opened)}>${age(row.opened, now.value)}</span>`;
}

const ROWS = { alerts: AlertRow, leads: LeadRow, cases: CaseRow };

/** Keys of the list while it has the focus. @returns the row to go to, or undefined */
function target(key, at, count, jump) {
  return { ArrowDown: at + 1, j: at + 1, ArrowUp: at - 1, k: at - 1, PageDown: at + jump, PageUp: at - jump, Home: 0, End: count - 1 }[key];
}

/** Says what would appear here, and offers to drop the filter that may hide it. */
function Empty({ view }) {
  const filtered = ["state", "level", "site", "rule", "active", "overdue"].some((name) => route.value[name]);
  return html`<p class="empty">
    ${t(`empty.${view}`)} ${filtered ? html`<a href=${`#view=${view}&state=all`}>${t("empty.all")}</a>` : ""}
  </p>`;
}

export function Queue({ view }) {
  const box = useRef(null);
  const [top, setTop] = useState(0);
  const [room, setRoom] = useState(600);
  const { rows, read } = lists[view];
  const height = HEIGHTS[density.value] ?? 54;
  const count = rows.value.length;
  const kind = KINDS[view];
  const chosen = selection.value?.kind === kind ? rows.value.findIndex((row) => row.id === selection.value.id) : -1;
  const first = Math.max(0, Math.floor(top / height) - OVERSCAN);
  const last = Math.min(count, Math.ceil((top + room) / height) + OVERSCAN);

  useEffect(() => {
    const watch = new ResizeObserver(() => setRoom(box.current?.clientHeight ?? 600));
    watch.observe(box.current);
    return () => watch.disconnect();
  }, []);
  useEffect(() => {
    if (count && last >= count - 20) more(view);
  }, [last, count]);

  const choose = (at) => {
    const next = Math.max(0, Math.min(count - 1, at));
    go({ sel: `${kind}/${rows.value[next].id}` }, { replace: true });
    const list = box.current;
    if (next * height < list.scrollTop) list.scrollTop = next * height;
    if ((next + 1) * height > list.scrollTop + list.clientHeight) list.scrollTop = (next + 1) * height - list.clientHeight;
  };
  const press = (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || !count) return;
    const next = target(event.key, chosen, count, Math.floor(room / height));
    if (next === undefined) return;
    event.preventDefault();
    choose(next);
  };
  const reveal = () => {
    const added = lists[view].fresh.value.length;
    showFresh(view);
    if (box.current.scrollTop > height) box.current.scrollTop += added * height;
    else box.current.scrollTop = 0;
  };
  const Row = ROWS[view];
  return html` <div class="fresh" role="status">
      ${waiting.value ? html`<button class="pill" id="fresh" onClick=${reveal}>${t(`fresh.${view}`, { n: waiting.value })}</button>` : ""}
      ${paused.value ? html`<span class="chip late">${t("paused")}</span>` : ""}
    </div>
    <div
      class="list"
      ref=${box}
      id="queue"
      tabindex="0"
      role="listbox"
      aria-label=${t(`view.${view}`)}
      aria-activedescendant=${chosen >= first && chosen < last ? `row-${rows.value[chosen].id}` : undefined}
      onScroll=${(event) => setTop(event.currentTarget.scrollTop)}
      onKeyDown=${press}
    >
      ${
        count
          ? html`<div class="sizer" role="presentation" style=${{ height: `${count * height}px` }}>
              ${rows.value.slice(first, last).map(
                (row, k) =>
                  html`<div
                    key=${row.id}
                    id=${`row-${row.id}`}
                    role="option"
                    aria-selected=${first + k === chosen}
                    aria-setsize=${count}
                    aria-posinset=${first + k + 1}
                    class=${`row ${first + k === chosen ? "chosen" : ""} ${view === "alerts" && row.state !== "open" ? "handled" : ""}`}
                    style=${{ top: `${(first + k) * height}px`, height: `${height}px` }}
                    onClick=${() => go({ sel: `${kind}/${row.id}` }, { replace: chosen >= 0 })}
                  >
                    <${Row} row=${row} />
                  </div>`,
              )}
            </div>`
          : ""
      }
    </div>
    ${count || !read.value ? "" : html`<${Empty} view=${view} />`}`;
}

export const refresh = () => {
  if (lists[route.value.view]) load(route.value.view);
};
