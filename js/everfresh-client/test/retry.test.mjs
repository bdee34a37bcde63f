import assert from "node:assert/strict";
import { test } from "node:test";

import { createClient } from "../dist/index.js";
import { browser, fakeFetch, serve } from "./helpers.mjs";

const UNAVAILABLE = [503, { "retry-after": "0" }];
const timeLimit = { timeout: 20_000 };

test("a 503 with Retry-After is followed by one more request", timeLimit, async (t) => {
  const server = await serve(t, [UNAVAILABLE, [200, {}, "there"]]);
  const response = await browser(t).open().fetch(`${server.url}/api`);
  assert.equal(response.status, 200);
  assert.equal(await response.text(), "there");
  assert.deepEqual(server.requests.map(({ url }) => url), ["/api", "/api"]);
});

test("no third request is sent", timeLimit, async (t) => {
  const server = await serve(t, [UNAVAILABLE, UNAVAILABLE, [200]]);
  assert.equal((await browser(t).open().fetch(server.url)).status, 503);
  assert.equal(server.requests.length, 2);
});

test("a body that is not a stream is sent again unchanged", timeLimit, async (t) => {
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
    const server = await serve(t, [UNAVAILABLE, [204]]);
    const response = await browser(t).open().fetch(server.url, { method: "POST", body });
    assert.equal(response.status, 204, kind);
    assert.equal(server.requests.length, 2, kind);
    const sent = server.requests.map(({ method, body }) => {
      // Each request has another multipart boundary.
      return `${method} ${body.replaceAll(/-+formdata-[-\w]+/g, "--")}`;
    });
    assert.equal(sent[0], sent[1], kind);
    assert.match(sent[1], /POST .*name/s, kind);
  }
});

test("a request with a stream is not sent again, and its 503 is returned", timeLimit, async (t) => {
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
    const response = await browser(t).open().fetch(...request(server.url));
    assert.equal(response.status, 503, kind);
    assert.equal(await response.text(), "later", kind);
    assert.equal(server.requests.length, 1, kind);
  }
});

test("a Request without a body is sent again with any method", timeLimit, async (t) => {
  for (const method of ["GET", "DELETE", "POST"]) {
    const server = await serve(t, [UNAVAILABLE, [200]]);
    const response = await browser(t).open().fetch(new Request(server.url, { method }));
    assert.equal(response.status, 200, method);
    assert.deepEqual(server.requests.map((request) => request.method), [method, method]);
  }
});

test("without Request.body only a method that has no body is sent again", timeLimit, async (t) => {
  for (const [method, sent] of [["GET", 2], ["POST", 1]]) {
    const server = await serve(t, [UNAVAILABLE, [200]]);
    const request = new Request(server.url, { method });
    Object.defineProperty(request, "body", { value: undefined });
    await browser(t).open().fetch(request);
    assert.equal(server.requests.length, sent, method);
  }
});

test("no other status is retried", timeLimit, async (t) => {
  for (const status of [200, 202, 401, 403, 408, 425, 429, 500, 502, 504]) {
    const server = await serve(t, [[status, { "retry-after": "0" }], [200]]);
    assert.equal((await browser(t).open().fetch(server.url)).status, status);
    assert.equal(server.requests.length, 1, `${status}`);
  }
});

test("a 503 without a valid Retry-After is returned", timeLimit, async (t) => {
  const invalid = ["", "soon", "-1", "1.5", "0x1", "2026", "1 s", "Fri, 31 Nov"];
  for (const value of [undefined, ...invalid]) {
    const server = await serve(t, [[503, value === undefined ? {} : { "retry-after": value }]]);
    assert.equal((await browser(t).open().fetch(server.url)).status, 503);
    assert.equal(server.requests.length, 1, value);
  }
});

test("the second request is sent exactly when Retry-After has passed", timeLimit, async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1_800_000_000_000 });
  const inThreeSeconds = new Date(1_800_000_003_000).toUTCString();
  for (const [value, delay] of [["2", 2000], [inThreeSeconds, 3000]]) {
    const send = fakeFetch((nth) => {
      return new Response(null, nth === 1 ? { status: 503, headers: { "retry-after": value } } : {});
    });
    const response = createClient({ fetch: send }).fetch("https://app.example/");
    // The client reaches its timer within microtasks.
    for (let i = 0; i < 20; i += 1) await null;
    t.mock.timers.tick(delay - 1);
    for (let i = 0; i < 20; i += 1) await null;
    assert.equal(send.calls.length, 1, value);
    t.mock.timers.tick(1);
    assert.equal((await response).status, 200, value);
    t.mock.timers.setTime(1_800_000_000_000);
  }
});

test("a Retry-After date in the past causes no wait", timeLimit, async (t) => {
  const server = await serve(t, [[503, { "retry-after": new Date(0).toUTCString() }], [200]]);
  assert.equal((await browser(t).open().fetch(server.url)).status, 200);
});

test("a Retry-After above maxRetryAfter is not waited for, and the 503 keeps its body", timeLimit, async (t) => {
  const server = await serve(t, [[503, { "retry-after": "11" }, "busy"], [503, { "retry-after": "1" }]]);
  const tabs = browser(t);
  const response = await tabs.open().fetch(server.url);
  assert.equal(response.status, 503);
  assert.equal(await response.text(), "busy");
  assert.equal((await tabs.open({ maxRetryAfter: 999 }).fetch(server.url)).status, 503);
  assert.equal(server.requests.length, 2);
});

test("the request's signal ends the wait, and no second request is sent", timeLimit, async (t) => {
  const requests = {
    "by the call": (signal) => ["https://app.example/", { signal }],
    "by the Request": (signal) => [new Request("https://app.example/", { signal })],
  };
  for (const [kind, request] of Object.entries(requests)) {
    // During the wait, and just before it.
    for (const schedule of [setImmediate, (run) => run()]) {
      const controller = new AbortController();
      const send = fakeFetch(() => new Response(null, { status: 503, headers: { "retry-after": "9" } }));
      const mayRetry = () => {
        schedule(() => controller.abort(new Error("cancelled")));
        return true;
      };
      const tab = browser(t).open({ fetch: send, mayRetry });
      await assert.rejects(tab.fetch(...request(controller.signal)), /cancelled/, kind);
      assert.equal(send.calls.length, 1, kind);
    }
  }
});

test("mayRetry decides which requests are sent again", timeLimit, async (t) => {
  const server = await serve(t, [UNAVAILABLE, UNAVAILABLE, [200]]);
  const mayRetry = (_input, init) => (init?.method ?? "GET") === "GET";
  const tab = browser(t).open({ mayRetry });
  assert.equal((await tab.fetch(server.url, { method: "POST", body: "pay" })).status, 503);
  assert.equal((await tab.fetch(server.url)).status, 200);
  assert.deepEqual(server.requests.map(({ method }) => method), ["POST", "GET", "GET"]);
});

test("a network failure of the second request rejects as fetch does", timeLimit, async (t) => {
  const send = fakeFetch((nth) => {
    if (nth === 1) return new Response(null, { status: 503, headers: { "retry-after": "0" } });
    throw new TypeError("Failed to fetch");
  });
  await assert.rejects(browser(t).open({ fetch: send }).fetch("/"), /Failed to fetch/);
  assert.equal(send.calls.length, 2);
});
