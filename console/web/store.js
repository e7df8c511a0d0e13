// What the pages share: who acts, where we are (it is the address), the clock of the server, and the counts.
import { computed, signal } from "@preact/signals";

export const person = signal(localStorage.getItem("person") || "");
export const people = signal([]);
export const me = computed(() => people.value.find((one) => one.person === person.value) ?? null);
export const summary = signal(null);
export const choices = signal({ closing_reasons: [] });
export const paused = signal(false);
export const notice = signal(null); // {kind: "done" | "fault", text}
export const dialog = signal(null); // an open form: {title, fields, submit}
export const help = signal(false);
export const theme = signal(document.documentElement.dataset.theme);
export const density = signal(document.documentElement.dataset.density);

// The server's clock, which may be virtual: its last word plus the time since, at its speed.
const heard = signal({ now: Date.now(), at: performance.now(), speed: 1, delay_s: null });
const tick = signal(0);
setInterval(() => {
  tick.value += 1;
}, 1000);
export const now = computed(() => (tick.value, heard.value.now + (performance.now() - heard.value.at) * heard.value.speed));
export const delay = computed(() => heard.value.delay_s);

export function hearClock(beat) {
  heard.value = { now: beat.now, at: performance.now(), speed: beat.speed ?? 1, delay_s: beat.delay_s };
}

export function choosePerson(one) {
  person.value = one;
  localStorage.setItem("person", one);
}

export function setLook(name, value) {
  document.documentElement.dataset[name] = value;
  localStorage.setItem(name, value);
  (name === "theme" ? theme : density).value = value;
}

// Where we are is the address: #view=alerts&state=open&sel=alert/ID. Copying it shares the view.
export const VIEWS = ["alerts", "leads", "cases", "devices", "books"];
const DEFAULTS = { view: "alerts" };
const read = () => ({ ...DEFAULTS, ...Object.fromEntries(new URLSearchParams(location.hash.slice(1))) });
export const route = signal(read());
addEventListener("hashchange", () => {
  route.value = read();
});

export const hash = (changes, base = route.value) => {
  const next = Object.fromEntries(Object.entries({ ...base, ...changes }).filter(([, value]) => value !== "" && value != null));
  return "#" + new URLSearchParams(next).toString().replaceAll("%2F", "/");
};

/** Go somewhere; `replace` leaves no step behind (moving along a list is not a visit). */
export function go(changes, { replace = false } = {}) {
  const to = hash(changes);
  if (replace) history.replaceState(null, "", to);
  else history.pushState(null, "", to);
  route.value = read();
}

export const selection = computed(() => {
  const [kind, id] = (route.value.sel ?? "").split("/");
  return id ? { kind, id } : null;
});

let fading;
export function say(kind, text) {
  notice.value = { kind, text };
  clearTimeout(fading);
  if (kind === "done")
    fading = setTimeout(() => {
      notice.value = null;
    }, 6000);
}
