// Live events: one connection a browser through a SharedWorker, one a page where there is none.
import { signal } from "@preact/signals";

/** "waiting" | "live" | "lost": what the header shows. */
export const link = signal("waiting");
const SILENT_MS = 30000;
let heard = performance.now();

/** @param {(message: {type: string, data: any}) => void} receive */
export function connect(receive) {
  const take = (message) => {
    if (message.type === "error") {
      link.value = "lost";
      return;
    }
    heard = performance.now();
    link.value = "live";
    receive(message);
  };
  setInterval(() => {
    if (performance.now() - heard > SILENT_MS) link.value = "lost";
  }, 1000);
  if (typeof SharedWorker === "undefined") {
    import("./live-source.js").then(({ open }) => open(take));
    return;
  }
  const worker = new SharedWorker("/web/live-worker.js", { type: "module", name: "offsite-live" });
  worker.port.onmessage = (event) => take(event.data);
  addEventListener("pagehide", () => worker.port.postMessage("bye"));
}
