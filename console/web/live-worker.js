// One event stream for all pages of this browser (HTTP/1.1 allows six connections; each tab must not take one).
import { open } from "./live-source.js";

const ports = new Set();
let newest = null;

open((message) => {
  if (message.type === "heartbeat" || message.type === "error") newest = message;
  for (const port of ports) port.postMessage(message);
});

self.onconnect = (event) => {
  const port = event.ports[0];
  ports.add(port);
  port.onmessage = (received) => {
    if (received.data === "bye") ports.delete(port);
  };
  if (newest) port.postMessage(newest);
};
