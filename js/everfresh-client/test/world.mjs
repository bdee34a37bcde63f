// What the tests share: a server that answers by script, and tabs of one browser.

import { createServer } from "node:http";
import { after } from "node:test";
import { setImmediate as turn } from "node:timers/promises";

import { createClient } from "../dist/index.js";

// Channels of ours keep no process alive; a test that waits for news has to.
const awake = setInterval(() => {}, 1000);
after(() => clearInterval(awake));

/** Answers with `answers` in turn, each `[status, headers, body]`, and keeps what it was asked. */
export async function serve(t, answers) {
  const asked = [];
  const left = [...answers];
  const server = createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    const { method, url, headers } = request;
    asked.push({ method, url, headers, body: Buffer.concat(parts).toString() });
    const [status, fields = {}, body = ""] = left.shift() ?? [599];
    response.writeHead(status, fields).end(body);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { asked, url: `http://127.0.0.1:${server.address().port}` };
}

let browsers = 0;

/** Makes tabs of one browser, which hear each other and nobody else. */
export function browser(t) {
  const channel = `test-${(browsers += 1)}`;
  const open = (options) => {
    const tab = createClient({ channel, ...options });
    const seen = [];
    tab.onChange((happening, here) => seen.push([happening, here]));
    t.after(() => tab.close());
    return Object.assign(tab, { seen });
  };
  const wire = () => {
    const listener = new BroadcastChannel(channel);
    const messages = [];
    listener.onmessage = ({ data }) => messages.push(data);
    t.after(() => listener.close());
    return Object.assign(listener, { messages });
  };
  return { open, wire };
}

/** Waits until something holds: a test that waits in vain is ended by its runner. */
export async function until(holds) {
  while (!holds()) await turn();
}

/** A `fetch` that answers with what `answer` gives, and counts. */
export function fake(answer) {
  const send = async (...request) => {
    send.calls.push(request);
    return answer(send.calls.length, ...request);
  };
  send.calls = [];
  return send;
}

/** For the length of a test, this is what the page has by that name. */
export function stub(t, name, value) {
  const before = Object.getOwnPropertyDescriptor(globalThis, name);
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  t.after(() => {
    if (before) Object.defineProperty(globalThis, name, before);
    else delete globalThis[name];
  });
}
