// The desk's HTTP API: JSON in, JSON out; a refusal becomes an Error whose message names the thing and the remedy.
import { person } from "./store.js";

/** @param {string} path @param {object} [body] a body makes it a POST @returns {Promise<any>} */
export async function call(path, body) {
  const headers = { "X-Offsite-Person": encodeURIComponent(person.value) };
  const options =
    body === undefined
      ? { headers }
      : { method: "POST", headers: { ...headers, "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const answer = await fetch(path, options);
  const data = await answer.json();
  if (!answer.ok) throw new Error(data.remedy ? `${data.detail} — ${data.remedy}` : data.detail);
  return data;
}

/** @param {Record<string, any>} params empty values are left out */
export function query(params) {
  const kept = Object.entries(params).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return kept.length ? "?" + new URLSearchParams(kept) : "";
}
