// What is wrong with the platform itself: a banner over everything, as long as it stands. The words come from the server.
import { signal } from "@preact/signals";
import { html } from "./h.js";
import { lang } from "./i18n.js";
import { call } from "./api.js";
import { clockTime, dayTime } from "./format.js";

const EVERY = 15_000;
const MOST = 3;
const standing = signal([]);

async function ask() {
  try {
    standing.value = (await call("/api/v1/conditions")).conditions;
  } catch {
    standing.value = []; // a desk that does not answer has a banner of its own
  }
}

/** Ask now and then from here on. */
export function watchConditions() {
  ask();
  setInterval(ask, EVERY);
}

export function Conditions() {
  const own = lang.value === "en" ? "en" : "zh";
  return standing.value.slice(0, MOST).map(
    (one) =>
      html`<div class="banner" key=${one.id + one.subject} role=${one.severity === "critical" ? "alert" : "status"} title=${one[`remedy_${own}`]}>
        ${one[own]} — ${one[`remedy_${own}`]} (${dayTime(one.since)} ${clockTime(one.since)})
      </div>`,
  );
}
