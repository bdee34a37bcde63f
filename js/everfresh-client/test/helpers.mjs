// Shared by the tests: a server with scripted responses, and the tabs of one browser.

import { createServer } from "node:http";
import { after } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";

import { createClient } from "../dist/index.js";

// The client's channels don't keep the process running. A test that waits for a message needs it.
const keepAlive = setInterval(() => {}, 1000);
after(() => clearInterval(keepAlive));

/**
 * Starts a server that sends `responses` in turn, each `[status, headers, body]`, and 599 after the
 * last. `requests` holds what it received.
 */
export async function serve(t, responses) {
  const requests = [];
  const left = [...responses];
  const server = createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    const { method, url, headers } = request;
    requests.push({ method, url, headers, body: Buffer.concat(parts).toString() });
    const [status, fields = {}, body = ""] = left.shift() ?? [599];
    response.writeHead(status, fields).end(body);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { requests, url: `http://127.0.0.1:${server.address().port}` };
}

let browsers = 0;

/**
 * Makes one browser. `open` opens a tab, whose `events` holds what its listener got; `spy` opens a
 * bare channel, whose `messages` holds what tabs sent. Two browsers exchange no messages.
 */
export function browser(t) {
  const channel = `test-${(browsers += 1)}`;
  const open = (options) => {
    const tab = createClient({ channel, ...options });
    const events = [];
    tab.onChange((event, fromThisTab) => events.push([event, fromThisTab]));
    t.after(() => tab.close());
    return Object.assign(tab, { events });
  };
  const spy = () => {
    const listener = new BroadcastChannel(channel);
    const messages = [];
    listener.onmessage = ({ data }) => messages.push(data);
    t.after(() => listener.close());
    return Object.assign(listener, { messages });
  };
  return { open, spy };
}

/** Waits until a condition holds. The test runner's time limit ends a wait that never succeeds. */
export async function waitUntil(holds) {
  while (!holds()) await nextTurn();
}

/**
 * Makes a `fetch` that returns what `respond` returns for the number of the call and its arguments.
 * `calls` holds the arguments of each call.
 */
export function fakeFetch(respond) {
  const send = async (...request) => {
    send.calls.push(request);
    return respond(send.calls.length, ...request);
  };
  send.calls = [];
  return send;
}

/** Replaces a global value until the test ends. */
export function stubGlobal(t, name, value) {
  const before = Object.getOwnPropertyDescriptor(globalThis, name);
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  t.after(() => {
    if (before) Object.defineProperty(globalThis, name, before);
    else delete globalThis[name];
  });
}
