// The event stream itself, used by the worker and, where there is none, by the page.
const TYPES = ["hello", "resync", "change", "heartbeat"];

/** @param {(message: {type: string, data: any}) => void} send */
export function open(send) {
  let last = null;
  let source;
  const start = () => {
    source = new EventSource("/api/v1/events" + (last === null ? "" : `?after=${last}`));
    for (const type of TYPES) {
      source.addEventListener(type, (event) => {
        if (event.lastEventId) last = event.lastEventId;
        send({ type, data: JSON.parse(event.data) });
      });
    }
    source.onerror = () => {
      send({ type: "error", data: null });
      if (source.readyState === EventSource.CLOSED) setTimeout(start, 2000); // a refused answer ends it for good: begin anew
    };
  };
  start();
}
