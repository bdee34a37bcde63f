import assert from "node:assert/strict";
import { test } from "node:test";

import { createClient } from "../dist/index.js";
import { browser, fake, serve } from "./world.mjs";

const LATER = [503, { "retry-after": "0" }];
const limit = { timeout: 20_000 };

test("a 503 that says when is followed by one more request", limit, async (t) => {
  const server = await serve(t, [LATER, [200, {}, "there"]]);
  const response = await browser(t).open().fetch(`${server.url}/api`);
  assert.equal(response.status, 200);
  assert.equal(await response.text(), "there");
  assert.deepEqual(server.asked.map(({ url }) => url), ["/api", "/api"]);
});

test("there is no third", limit, async (t) => {
  const server = await serve(t, [LATER, LATER, [200]]);
  assert.equal((await browser(t).open().fetch(server.url)).status, 503);
  assert.equal(server.asked.length, 2);
});

test("bodies that are at hand are sent again as they were", limit, async (t) => {
  const form = new FormData();
  form.set("name", "Ada");
  const bodies = {
    text: "name=Ada",
    parameters: new URLSearchParams({ name: "Ada" }),
    form,
    blob: new Blob(["name=Ada"]),
    bytes: new TextEncoder().encode("name=Ada"),
    buffer: new TextEncoder().encode("name=Ada").buffer,
  };
  for (const [kind, body] of Object.entries(bodies)) {
    const server = await serve(t, [LATER, [204]]);
    const answer = await browser(t).open().fetch(server.url, { method: "POST", body });
    assert.equal(answer.status, 204, kind);
    assert.equal(server.asked.length, 2, kind);
    const sent = server.asked.map(({ method, body }) => {
      // A form's boundary is made anew each time.
      return `${method} ${body.replaceAll(/-+formdata-[-\w]+/g, "--")}`;
    });
    assert.equal(sent[0], sent[1], kind);
    assert.match(sent[1], /POST .*name/s, kind);
  }
});

test("a body that was read is not sent again, and its answer is the first", limit, async (t) => {
  const stream = () => new Blob(["x"]).stream();
  const requests = {
    stream: (url) => [url, { method: "POST", body: stream(), duplex: "half" }],
    "a Request's body": (url) => [new Request(url, { method: "POST", body: "x" })],
    "a Request's stream": (url) => [
      new Request(url, { method: "POST", body: stream(), duplex: "half" }),
    ],
  };
  for (const [kind, request] of Object.entries(requests)) {
    const server = await serve(t, [[503, { "retry-after": "0" }, "later"], [200]]);
    const answer = await browser(t).open().fetch(...request(server.url));
    assert.equal(answer.status, 503, kind);
    assert.equal(await answer.text(), "later", kind);
    assert.equal(server.asked.length, 1, kind);
  }
});

test("a Request without a body is sent again, whatever its method", limit, async (t) => {
  for (const method of ["GET", "DELETE", "POST"]) {
    const server = await serve(t, [LATER, [200]]);
    const answer = await browser(t).open().fetch(new Request(server.url, { method }));
    assert.equal(answer.status, 200, method);
    assert.deepEqual(server.asked.map((request) => request.method), [method, method]);
  }
});

test("a Request of a browser that tells no body is sent again if it can have none", limit, async (t) => {
  for (const [method, sent] of [["GET", 2], ["POST", 1]]) {
    const server = await serve(t, [LATER, [200]]);
    const request = new Request(server.url, { method });
    Object.defineProperty(request, "body", { value: undefined });
    await browser(t).open().fetch(request);
    assert.equal(server.asked.length, sent, method);
  }
});

test("no other status is tried again", limit, async (t) => {
  for (const status of [200, 202, 401, 403, 408, 425, 429, 500, 502, 504]) {
    const server = await serve(t, [[status, { "retry-after": "0" }], [200]]);
    assert.equal((await browser(t).open().fetch(server.url)).status, status);
    assert.equal(server.asked.length, 1, `${status}`);
  }
});

test("a 503 that does not say when is an answer", limit, async (t) => {
  const odd = ["", "soon", "-1", "1.5", "0x1", "2026", "1 s", "Fri, 31 Nov"];
  for (const value of [undefined, ...odd]) {
    const server = await serve(t, [[503, value === undefined ? {} : { "retry-after": value }]]);
    assert.equal((await browser(t).open().fetch(server.url)).status, 503);
    assert.equal(server.asked.length, 1, value);
  }
});

test("it waits as long as it was told, and no shorter", limit, async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_800_000_000_000 });
  const inThree = new Date(1_800_000_003_000).toUTCString();
  for (const [said, wait] of [["2", 2000], [inThree, 3000]]) {
    const send = fake((nth) => {
      return new Response(null, nth === 1 ? { status: 503, headers: { "retry-after": said } } : {});
    });
    const answer = createClient({ fetch: send }).fetch("https://app.example/");
    // Everything up to the wait is done in microtasks.
    for (let i = 0; i < 20; i += 1) await null;
    t.mock.timers.tick(wait - 1);
    for (let i = 0; i < 20; i += 1) await null;
    assert.equal(send.calls.length, 1, said);
    t.mock.timers.tick(1);
    assert.equal((await answer).status, 200, said);
    t.mock.timers.setTime(1_800_000_000_000);
  }
});

test("a date that is over is now", limit, async (t) => {
  const server = await serve(t, [[503, { "retry-after": new Date(0).toUTCString() }], [200]]);
  assert.equal((await browser(t).open().fetch(server.url)).status, 200);
});

test("what would take longer than the limit is not waited for", limit, async (t) => {
  const server = await serve(t, [[503, { "retry-after": "11" }, "busy"], [503, { "retry-after": "1" }]]);
  const tabs = browser(t);
  const answer = await tabs.open().fetch(server.url);
  assert.equal(answer.status, 503);
  assert.equal(await answer.text(), "busy");
  assert.equal((await tabs.open({ longestWait: 999 }).fetch(server.url)).status, 503);
  assert.equal(server.asked.length, 2);
});

test("the request's signal ends the wait, and nothing is sent again", limit, async (t) => {
  const requests = {
    "by the call": (signal) => ["https://app.example/", { signal }],
    "by the Request": (signal) => [new Request("https://app.example/", { signal })],
  };
  for (const [kind, request] of Object.entries(requests)) {
    // Within the wait, and just before it.
    for (const soon of [setImmediate, (run) => run()]) {
      const stop = new AbortController();
      const send = fake(() => new Response(null, { status: 503, headers: { "retry-after": "9" } }));
      const mayRetry = () => {
        soon(() => stop.abort(new Error("enough")));
        return true;
      };
      const tab = browser(t).open({ fetch: send, mayRetry });
      await assert.rejects(tab.fetch(...request(stop.signal)), /enough/, kind);
      assert.equal(send.calls.length, 1, kind);
    }
  }
});

test("an app can say which requests may be sent again", limit, async (t) => {
  const server = await serve(t, [LATER, LATER, [200]]);
  const mayRetry = (_input, init) => (init?.method ?? "GET") === "GET";
  const tab = browser(t).open({ mayRetry });
  assert.equal((await tab.fetch(server.url, { method: "POST", body: "pay" })).status, 503);
  assert.equal((await tab.fetch(server.url)).status, 200);
  assert.deepEqual(server.asked.map(({ method }) => method), ["POST", "GET", "GET"]);
});

test("a network that fails is told as fetch tells it", limit, async (t) => {
  const send = fake((nth) => {
    if (nth === 1) return new Response(null, { status: 503, headers: { "retry-after": "0" } });
    throw new TypeError("Failed to fetch");
  });
  await assert.rejects(browser(t).open({ fetch: send }).fetch("/"), /Failed to fetch/);
  assert.equal(send.calls.length, 2);
});
