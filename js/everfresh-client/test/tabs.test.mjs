import assert from "node:assert/strict";
import { test } from "node:test";

import { browser, fakeFetch, stubGlobal, waitUntil } from "./helpers.mjs";

const timeLimit = { timeout: 20_000 };
const respondWith = (status) => fakeFetch(() => new Response(null, { status }));

test("signOut posts to logoutUrl, and every tab gets signed-out", timeLimit, async (t) => {
  const tabs = browser(t);
  const send = respondWith(204);
  const here = tabs.open({ fetch: send, logoutUrl: "/bye" });
  const there = tabs.open();
  const response = await here.signOut({ headers: { "x-csrf": "1" }, method: "GET" });
  assert.equal(response.status, 204);
  assert.deepEqual(send.calls, [["/bye", { headers: { "x-csrf": "1" }, method: "POST" }]]);
  await waitUntil(() => there.events.length > 0);
  assert.deepEqual(here.events, [["signed-out", true]]);
  assert.deepEqual(there.events, [["signed-out", false]]);
});

test("logoutUrl is /logout by default", timeLimit, async (t) => {
  const send = respondWith(200);
  await browser(t).open({ fetch: send }).signOut();
  assert.equal(send.calls[0][0], "/logout");
});

test("a 401 to signOut counts as signed out", timeLimit, async (t) => {
  const tab = browser(t).open({ fetch: respondWith(401) });
  await tab.signOut();
  assert.deepEqual(tab.events, [["signed-out", true]]);
});

test("no tab gets signed-out if signOut fails", timeLimit, async (t) => {
  const tabs = browser(t);
  const spy = tabs.spy();
  for (const status of [403, 404, 500, 503]) {
    const tab = tabs.open({ fetch: respondWith(status) });
    assert.equal((await tab.signOut()).status, status);
    assert.deepEqual(tab.events, []);
  }
  const offline = tabs.open({
    fetch: fakeFetch(() => {
      throw new TypeError("offline");
    }),
  });
  await assert.rejects(offline.signOut(), /offline/);
  // Messages arrive in order, so an earlier one would arrive before this one.
  offline.notify("signed-in");
  await waitUntil(() => spy.messages.length > 0);
  assert.deepEqual(spy.messages, [{ type: "signed-in" }]);
});

test("notify reaches every tab, and fromThisTab tells them apart", timeLimit, async (t) => {
  const tabs = browser(t);
  const [here, there] = [tabs.open(), tabs.open()];
  here.notify("signed-in");
  here.notify("signed-out");
  await waitUntil(() => there.events.length === 2);
  assert.deepEqual(there.events, [["signed-in", false], ["signed-out", false]]);
  assert.deepEqual(here.events, [["signed-in", true], ["signed-out", true]]);
});

test("a removed listener is not called", timeLimit, async (t) => {
  const tab = browser(t).open();
  const received = [];
  const remove = tab.onChange((event) => received.push(event));
  tab.notify("signed-in");
  await waitUntil(() => tab.events.length === 1);
  remove();
  tab.notify("signed-out");
  await waitUntil(() => tab.events.length === 2);
  assert.deepEqual(received, ["signed-in"]);
});

test("apps with another channel get no messages", timeLimit, async (t) => {
  const [one, other] = [browser(t), browser(t)];
  const [here, there, elsewhere] = [one.open(), one.open(), other.open()];
  here.notify("signed-out");
  await waitUntil(() => there.events.length > 0);
  assert.deepEqual(elsewhere.events, []);
});

test("a closed client exchanges no messages, and its other methods work", timeLimit, async (t) => {
  const tabs = browser(t);
  const spy = tabs.spy();
  const [closed, open] = [tabs.open({ fetch: respondWith(204) }), tabs.open()];
  closed.close();
  closed.close();
  await closed.signOut();
  open.notify("signed-in");
  await waitUntil(() => spy.messages.length > 0);
  assert.deepEqual(spy.messages, [{ type: "signed-in" }]);
  assert.deepEqual(closed.events, [["signed-out", true]]);
});

test("without BroadcastChannel a client works in its own tab", timeLimit, async (t) => {
  stubGlobal(t, "BroadcastChannel", undefined);
  const tab = browser(t).open({ fetch: respondWith(204) });
  await tab.signOut();
  assert.equal((await tab.refresh()).status, 204);
  await waitUntil(() => tab.events.length === 2);
  assert.deepEqual(tab.events, [["signed-out", true], ["refreshed", true]]);
});
