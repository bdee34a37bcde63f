import assert from "node:assert/strict";
import { test } from "node:test";

import { browser, fakeFetch, stubGlobal, waitUntil } from "./helpers.mjs";

const timeLimit = { timeout: 20_000 };
const refreshed = (seconds = 900) =>
  Response.json({ sub: "ada", sid: "s", expires_in: seconds, session_expires_in: 86_400 });
const settle = async () => {
  for (let i = 0; i < 50; i += 1) await new Promise(setImmediate);
};

/** A Web Locks manager for one name: one holder, and a queue in order. */
function lockManager() {
  let last = Promise.resolve();
  const manager = {
    /** The number of requests that hold the lock or wait for it. */
    pending: 0,
    request(name, { signal }, callback) {
      manager.pending += 1;
      const aborted = new Promise((_, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason));
      });
      let granted = false;
      const run = last.then(async () => {
        if (signal.aborted) return;
        granted = true;
        await callback({ name });
      });
      last = run.finally(() => (manager.pending -= 1));
      // A signal removes a request from the queue. It does not release a lock that is held.
      return Promise.race([run, aborted.catch((reason) => (granted ? run : Promise.reject(reason)))]);
    },
  };
  return manager;
}

/** Runs a test twice: with Web Locks, and without them by an election. */
function testBoth(name, body) {
  for (const kind of ["Web Locks", "an election"]) {
    test(`${name}, by ${kind}`, timeLimit, async (t) => {
      stubGlobal(t, "navigator", { locks: kind === "Web Locks" ? lockManager() : undefined });
      await body(t, kind);
    });
  }
}

testBoth("five tabs that refresh at the same time send one request", async (t) => {
  const tabs = browser(t);
  const send = fakeFetch(async () => {
    await settle();
    return refreshed();
  });
  const five = Array.from({ length: 5 }, () => tabs.open({ fetch: send }));
  const results = await Promise.all(five.map((tab) => tab.refresh()));
  assert.equal(send.calls.length, 1);
  const [path, { method, body }] = send.calls[0];
  assert.deepEqual([path, method, body], ["/auth/refresh", "POST", undefined]);
  for (const [index, { ok, status, expiresIn }] of results.entries()) {
    assert.deepEqual([ok, status], [true, 200]);
    assert.ok(expiresIn > 890 && expiresIn <= 900, `${expiresIn}`);
    const left = five[index].expiresIn();
    assert.ok(left > 890 && left <= 900, `${left}`);
  }
  await settle();
  const own = five.flatMap(({ events }) => events).map(([event, fromThisTab]) => {
    assert.equal(event, "refreshed");
    return fromThisTab;
  });
  assert.deepEqual(own.sort(), [false, false, false, false, true]);
});

testBoth("two calls in one tab send one request", async (t) => {
  const send = fakeFetch(() => refreshed());
  const tab = browser(t).open({ fetch: send, refreshUrl: "/renew" });
  const [first, second] = await Promise.all([tab.refresh(), tab.refresh()]);
  assert.equal(first.status, second.status);
  assert.deepEqual(send.calls.map(([path]) => path), ["/renew"]);
});

testBoth("a result is returned to later calls for one second", async (t, kind) => {
  t.mock.timers.enable({ apis: ["Date"], now: 1_800_000_000_000 });
  const tabs = browser(t);
  const send = fakeFetch(() => refreshed());
  const [here, there] = [tabs.open({ fetch: send }), tabs.open({ fetch: send })];
  await here.refresh();
  await waitUntil(() => there.events.length > 0);
  t.mock.timers.tick(999);
  assert.equal((await there.refresh()).status, 200);
  assert.equal((await here.refresh()).status, 200);
  assert.equal(send.calls.length, 1);
  t.mock.timers.tick(1);
  await there.refresh();
  assert.equal(send.calls.length, 2, kind);
});

testBoth("every tab gets the status of a failed refresh, and no call rejects", async (t) => {
  for (const [status, make] of [
    [401, () => new Response(null, { status: 401 })],
    [503, () => new Response(null, { status: 503 })],
    [0, () => Promise.reject(new TypeError("offline"))],
  ]) {
    const tabs = browser(t);
    const send = fakeFetch(make);
    const two = [tabs.open({ fetch: send }), tabs.open({ fetch: send })];
    const results = await Promise.all(two.map((tab) => tab.refresh()));
    const expected = { ok: false, status, expiresIn: undefined };
    assert.deepEqual(results, [expected, expected]);
    assert.equal(send.calls.length, 1);
    await settle();
    assert.deepEqual(two.flatMap(({ events }) => events), [], "a failure is no change of the session");
    assert.equal(two[0].expiresIn(), undefined);
  }
});

testBoth("a response without expires_in is a success", async (t) => {
  const tab = browser(t).open({ fetch: fakeFetch(() => new Response(null, { status: 204 })) });
  assert.deepEqual(await tab.refresh(), { ok: true, status: 204, expiresIn: undefined });
});

testBoth("a response to a refresh from before a sign-out sets no expiry", async (t) => {
  const tabs = browser(t);
  let respond;
  const send = fakeFetch(() => new Promise((resolve) => (respond = resolve)));
  const tab = tabs.open({ fetch: send });
  const refreshing = tab.refresh();
  await waitUntil(() => respond);
  tab.notify("signed-out");
  respond(refreshed());
  await refreshing;
  assert.equal(tab.expiresIn(), undefined);
});

testBoth("a sign-in discards the result of an earlier refresh", async (t) => {
  const send = fakeFetch(() => refreshed());
  const tab = browser(t).open({ fetch: send });
  await tab.refresh();
  tab.notify("signed-in");
  assert.equal(tab.expiresIn(), undefined);
  await tab.refresh();
  assert.equal(send.calls.length, 2);
});

testBoth("messages between tabs contain neither tokens nor names", async (t) => {
  const tabs = browser(t);
  const spy = tabs.spy();
  const tab = tabs.open({ fetch: fakeFetch(() => refreshed()) });
  await tab.refresh();
  tab.notify("signed-out");
  await waitUntil(() => spy.messages.at(-1)?.type === "signed-out");
  const allowed = { candidate: ["id"], refreshed: ["expiresAt", "ok", "status"], "signed-out": [] };
  for (const { type, ...rest } of spy.messages) {
    assert.deepEqual(Object.keys(rest).sort(), allowed[type]);
    for (const value of Object.values(rest)) assert.notEqual(typeof value, "string");
  }
});

test("a tab that has the result leaves the lock's queue and sends no request", timeLimit, async (t) => {
  const locks = lockManager();
  stubGlobal(t, "navigator", { locks });
  const tabs = browser(t);
  const send = fakeFetch(() => refreshed());
  const three = Array.from({ length: 3 }, () => tabs.open({ fetch: send }));
  await Promise.all(three.map((tab) => tab.refresh()));
  assert.ok(locks.pending > 0, "the lock is held until every tab has the result");
  await waitUntil(() => locks.pending === 0);
  assert.equal(send.calls.length, 1);
});

test("a tab refreshes by itself if the lock request is refused", timeLimit, async (t) => {
  const request = async () => {
    throw new DOMException("opaque origin", "SecurityError");
  };
  stubGlobal(t, "navigator", { locks: { request } });
  const send = fakeFetch(() => refreshed());
  assert.equal((await browser(t).open({ fetch: send }).refresh()).status, 200);
  assert.equal(send.calls.length, 1);
});

test("a tab waits 35 s for the result of an elected tab that is gone", timeLimit, async (t) => {
  stubGlobal(t, "navigator", {});
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const tabs = browser(t);
  const spy = tabs.spy();
  const send = fakeFetch(() => refreshed());
  const refreshing = tabs.open({ fetch: send }).refresh();
  spy.postMessage({ type: "candidate", id: -1 });
  await settle();
  t.mock.timers.tick(100);
  await settle();
  t.mock.timers.tick(34_999);
  await settle();
  assert.equal(send.calls.length, 0);
  t.mock.timers.tick(1);
  assert.equal((await refreshing).status, 200);
});

test("a tab that joins while an elected tab refreshes waits for its result", timeLimit, async (t) => {
  stubGlobal(t, "navigator", {});
  const tabs = browser(t);
  let respond;
  const send = fakeFetch(() => new Promise((resolve) => (respond = resolve)));
  const first = tabs.open({ fetch: send }).refresh();
  await waitUntil(() => respond);
  const spy = tabs.spy();
  const second = tabs.open({ fetch: send }).refresh();
  await waitUntil(() => spy.messages.some(({ id }) => id === -1));
  respond(refreshed());
  await Promise.all([first, second]);
  assert.equal(send.calls.length, 1);
});
