// Forms drawn from what the API allows: a button for each allowed step, a small dialog for the fields it needs.
import { useEffect, useRef, useState } from "preact/hooks";
import { html } from "./h.js";
import { both, t } from "./i18n.js";
import { rfc3339 } from "./format.js";
import { dialog, me, now, say } from "./store.js";

const HOURS = [1, 2, 4, 8, 24];
const MARGIN_MS = 60000; // our idea of the desk's clock may be a little ahead: 24 h must not become 24 h and a second

function Input({ field, set }) {
  const id = `f-${field.name}`;
  const change = (event) => set(field.name, event.target.value);
  const options =
    field.name === "until"
      ? HOURS.map((n) => [String(n), t("time.hour", { n, m: "" })])
      : (field.choices ?? []).map((one) => (typeof one === "string" ? [one, one] : [one.code, both(one, "name")]));
  const box = options.length
    ? html`<select id=${id} required=${field.required} onChange=${change}>
        <option value="">${t("choose")}</option>
        ${options.map(([code, text]) => html`<option key=${code} value=${code}>${text}</option>`)}
      </select>`
    : ["finding", "conclusion", "text", "reason", "note", "explanation"].includes(field.name)
      ? html`<textarea id=${id} rows="3" required=${field.required} onInput=${change}></textarea>`
      : html`<input id=${id} required=${field.required} onInput=${change} />`;
  return html`<label for=${id}
    ><span>${both(field, "name")}${field.required ? html` <span class="must">${t("required")}</span>` : ""}</span>${box}</label
  >`;
}

/** The open form; submitting it does the step, a refusal stays on screen with its remedy. */
export function Dialog() {
  const shown = dialog.value;
  const box = useRef(null);
  const values = useRef({});
  const [fault, setFault] = useState("");
  useEffect(() => {
    values.current = {};
    setFault("");
    if (shown && !box.current.open) box.current.showModal();
  }, [shown]);
  if (!shown) return null;
  const close = () => {
    dialog.value = null;
  };
  const submit = async (event) => {
    event.preventDefault();
    const body = { ...values.current };
    if (body.until) body.until = rfc3339(now.value + body.until * 3600e3 - MARGIN_MS);
    try {
      await shown.submit(body);
      close();
    } catch (error) {
      setFault(error.message);
    }
  };
  return html`<dialog ref=${box} onClose=${close} aria-labelledby="dialog-title">
    <form onSubmit=${submit}>
      <h2 id="dialog-title">${shown.title}</h2>
      ${shown.fields.map(
        (field) =>
          html`<${Input}
            key=${field.name}
            field=${field}
            set=${(name, value) => {
              values.current[name] = value;
            }}
          />`,
      )}
      ${fault ? html`<p class="fault" role="alert">${fault}</p>` : ""}
      <div class="buttons">
        <button type="submit" class="primary">${both(shown.step, "name")}</button
        ><button type="button" onClick=${() => box.current.close()}>${t("cancel")}</button>
      </div>
    </form>
  </dialog>`;
}

/** Do a step: at once when it needs nothing, else through the dialog. @param {(body: object) => Promise<void>} run */
export async function start(step, subject, run) {
  if (!me.value) {
    say("fault", t("person.first"));
    document.getElementById("person")?.focus();
    return;
  }
  const done = async (body) => {
    await run(body);
    say("done", t("did", { step: both(step, "name"), subject }));
  };
  if (step.fields?.length) {
    dialog.value = { title: `${both(step, "name")} · ${subject}`, step, fields: step.fields, submit: done };
    return;
  }
  try {
    await done({});
  } catch (error) {
    say("fault", error.message);
  }
}

/** The allowed steps as buttons; the first is the one expected next. */
export function Steps({ steps, onStep, keys = {} }) {
  if (!steps?.length) return html`<p class="dim steps">${me.value ? t("steps.none") : t("person.first")}</p>`;
  return html`<div class="steps">
    ${steps.map((step, k) => {
      const name = step.action ?? step.move;
      return html`<button key=${name} data-step=${name} class=${k === 0 ? "primary" : ""} onClick=${() => onStep(step)}>
        ${both(step, "name")}${step.fields?.length ? "…" : ""}${keys[name] ? html` <kbd>${keys[name]}</kbd>` : ""}
      </button>`;
    })}
  </div>`;
}
