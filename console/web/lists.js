// The three lists (alerts, leads, cases): loaded by pages, kept current by events, never jumping under the reader's hand.
import { batch, computed, signal } from "@preact/signals";
import { call, query } from "./api.js";
import { paused, route, say, selection, summary, hearClock } from "./store.js";

const PAGE = 200;
const FILTERS = {
  alerts: ["state", "active", "level", "site", "rule", "overdue", "folded"],
  leads: ["site", "state"],
  cases: ["state", "site"],
};
/** Alerts folded under a common cause are counted there, so they are not listed unless asked for. */
const DEFAULTS = { state: "open", folded: "false" };
export const KINDS = { alerts: "alert", leads: "lead", cases: "case" };
const list = () => ({ rows: signal([]), next: signal(null), loading: signal(false), read: signal(false), fresh: signal([]) });
export const lists = { alerts: list(), leads: list(), cases: list() };
/** Grows whenever what is open on the right may have changed. */
export const touched = signal(0);

export function filters(view, from = route.value) {
  const found = {};
  for (const name of FILTERS[view]) found[name] = from[name] ?? (view === "alerts" ? DEFAULTS[name] : undefined) ?? "";
  for (const name of ["state", "folded"]) if (found[name] === "all") found[name] = "";
  return found;
}

const page = (view, before) => call(`/api/v1/${view}` + query({ ...filters(view), before, limit: PAGE }));

/** Read the first page anew: filters changed, the reader asked, or the stream could not be replayed. */
export async function load(view) {
  const target = lists[view];
  target.loading.value = true;
  try {
    const data = await page(view);
    batch(() => {
      target.rows.value = data[view];
      target.next.value = data.next;
      target.fresh.value = [];
      target.read.value = true;
    });
  } catch (error) {
    say("fault", error.message);
  }
  target.loading.value = false;
}

/** Read the next page when the reader nears the end. */
export async function more(view) {
  const target = lists[view];
  if (target.loading.value || !target.next.value) return;
  target.loading.value = true;
  try {
    const data = await page(view, target.next.value);
    const known = new Set(target.rows.value.map((row) => row.id));
    batch(() => {
      target.rows.value = [...target.rows.value, ...data[view].filter((row) => !known.has(row.id))];
      target.next.value = data.next;
    });
  } catch (error) {
    say("fault", error.message);
  }
  target.loading.value = false;
}

/** Put the waiting rows on top, because the reader asked for them. */
export function showFresh(view) {
  const target = lists[view];
  const known = new Set(target.fresh.value.map((row) => row.id));
  batch(() => {
    target.rows.value = [...target.fresh.value, ...target.rows.value.filter((row) => !known.has(row.id))];
    target.fresh.value = [];
  });
}

export const waiting = computed(() => (lists[route.value.view] ? lists[route.value.view].fresh.value.length : 0));

export async function refreshSummary() {
  const data = await call("/api/v1/summary");
  summary.value = data;
  hearClock(data.clock);
}

// ---- events carry the row as lists show it; they are applied together, at most four times a second
const PAUSE_MS = 250;
const changed = { alert: new Map(), lead: new Map(), case: new Map() };
let running = false;
const sleep = (length) => new Promise((done) => setTimeout(done, length));

export function receive({ type, data }) {
  if (type === "heartbeat") hearClock(data);
  else if (type === "resync") reloadAll();
  else if (type === "change") {
    changed[data.kind]?.set(data.subject, { id: data.subject, ...data.body });
    if (!running && !paused.value) flush();
  }
}

/** Live again: catch up with what was held. */
export function resume() {
  if (!running) flush();
}

export function reloadAll() {
  for (const view of Object.keys(lists)) if (lists[view].read.value) load(view);
  touched.value += 1;
  refreshSummary().catch((error) => say("fault", error.message));
}

async function flush() {
  running = true;
  try {
    while (!paused.value && Object.values(changed).some((rows) => rows.size)) {
      while (Object.values(lists).some((one) => one.loading.value)) await sleep(50); // a page being read may already hold them
      const open = selection.value;
      const stale = open && (open.kind !== "alert" ? Object.values(changed).some((rows) => rows.size) : changed.alert.has(open.id));
      batch(() => {
        for (const [view, kind] of Object.entries(KINDS)) {
          absorb(view, changed[kind]);
          changed[kind].clear();
        }
        if (stale) touched.value += 1;
      });
      await refreshSummary();
      await sleep(PAUSE_MS);
    }
  } catch (error) {
    say("fault", error.message);
  } finally {
    running = false;
  }
}

const fits = (row, wanted) =>
  Object.entries(wanted).every(([name, value]) => value === "" || String(name === "folded" ? !!row.folded : row[name]) === value);

/** Known rows change where they stand; new ones that fit the filter wait above the list, unless the list is empty. */
function absorb(view, rows) {
  if (!rows.size || !lists[view].read.value) return; // a list nobody has opened is read when it is
  const target = lists[view];
  const wanted = filters(view);
  const known = new Set(target.rows.value.map((row) => row.id));
  const isKnown = [...rows.keys()].some((id) => known.has(id));
  if (isKnown) target.rows.value = target.rows.value.map((row) => (rows.has(row.id) ? { ...row, ...rows.get(row.id) } : row));
  const arrived = [...rows.values()].filter((row) => !known.has(row.id) && fits(row, wanted)).reverse();
  const fresh = [...arrived, ...target.fresh.value.filter((row) => !rows.has(row.id))];
  if (target.rows.value.length) target.fresh.value = fresh;
  else target.rows.value = fresh;
}

/** A row changed by this person's own hand: show it at once. */
export function put(view, row) {
  const target = lists[view];
  target.rows.value = target.rows.value.map((one) => (one.id === row.id ? { ...one, ...row } : one));
}
