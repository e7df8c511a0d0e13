// The keyboard: Alt with a letter acts on what is open, `?` explains (only outside fields), all of it also has a button.
import { html } from "./h.js";
import { t } from "./i18n.js";
import { useEffect, useRef } from "preact/hooks";
import { actOn } from "./detail.js";
import { call } from "./api.js";
import { start } from "./forms.js";
import { go, help, paused, say, selection } from "./store.js";
import { resume, touched } from "./lists.js";
import { refresh } from "./queue.js";

export const KEYS = [
  ["Alt+K", "ack"],
  ["Alt+J", "judge"],
  ["Alt+S", "shelve"],
  ["Alt+X", "close"],
  ["Alt+L", "pause"],
  ["Alt+R", "refresh"],
  ["↑ ↓", "move"],
  ["Alt+/", "help"],
];
const ACTS = { KeyK: "ack", KeyS: "shelve", KeyX: "close" };

/** Do an action of the table on the open alert; the API says whether it is allowed now. */
async function act(name) {
  const open = selection.value;
  if (open?.kind !== "alert") return say("fault", t("select.alert"));
  const alert = await call(`/api/v1/alerts/${open.id}`);
  const step = alert.allowed.find((one) => one.action === name);
  if (!step) return say("fault", t("step.not", { step: t(`key.${name}`), state: t(`state.${alert.state}`) }));
  return actOn(alert, step);
}

/** 研判: from an alert to its lead or case, from a lead to its decision. */
async function judge() {
  const open = selection.value;
  if (open?.kind === "alert") {
    const alert = await call(`/api/v1/alerts/${open.id}`);
    if (alert.case) return go({ view: "cases", state: "", sel: `case/${alert.case.id}` });
    if (alert.leads?.length) return go({ view: "leads", state: "", sel: `lead/${alert.leads[0].id}` });
    return say("fault", t("links.empty"));
  }
  if (open?.kind === "lead") {
    const lead = await call(`/api/v1/leads/${open.id}`);
    if (lead.case) return go({ view: "cases", state: "", sel: `case/${lead.case.id}` });
    const step = lead.allowed.find((one) => one.action === "open_case");
    if (step)
      return start(step, lead.site_name, async () => {
        const made = await call(`/api/v1/leads/${open.id}/case`, {});
        touched.value += 1;
        go({ view: "cases", state: "", sel: `case/${made.id}` });
      });
  }
  return say("fault", t("select.alert"));
}

export function pause() {
  paused.value = !paused.value;
  if (!paused.value) resume();
}

export function onKey(event) {
  const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
  const failed = (error) => say("fault", error.message);
  if (event.key === "?" && !typing && !event.altKey) help.value = true;
  if (!event.altKey || event.ctrlKey || event.metaKey || document.querySelector("dialog[open]")) return;
  const does = {
    ...Object.fromEntries(Object.entries(ACTS).map(([code, name]) => [code, () => act(name).catch(failed)])),
    KeyJ: () => judge().catch(failed),
    KeyL: pause,
    KeyR: refresh,
    Slash: () => {
      help.value = true;
    },
  }[event.code];
  if (!does) return;
  event.preventDefault();
  does();
}

export function KeyBar() {
  return html`<footer class="keys">
    ${KEYS.map(([key, name]) => html`<span key=${name}><kbd>${key}</kbd> ${t(`key.${name}`)}</span>`)}<span class="space"></span>
    <button class="tool" aria-pressed=${paused.value} onClick=${pause}>${t(paused.value ? "live.resume" : "live.pause")}</button>
  </footer>`;
}

export function Help() {
  const box = useRef(null);
  useEffect(() => {
    if (help.value && !box.current.open) box.current.showModal();
  }, [help.value]);
  if (!help.value) return null;
  return html`<dialog
    ref=${box}
    onClose=${() => {
      help.value = false;
    }}
    aria-labelledby="help-title"
  >
    <h2 id="help-title">${t("help")}</h2>
    <table class="ledger">
      <tbody>
        ${KEYS.map(
          ([key, name]) =>
            html`<tr key=${name}>
              <td><kbd>${key}</kbd></td>
              <td>${t(`help.${name}`)}</td>
            </tr>`,
        )}
      </tbody>
    </table>
    <p class="dim">${t("help.levels")}</p>
    <div class="buttons"><button class="primary" onClick=${() => box.current.close()}>${t("cancel")}</button></div>
  </dialog>`;
}
