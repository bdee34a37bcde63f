import assert from "node:assert/strict";
import { test } from "node:test";

import { browser, fake, stub, until } from "./world.mjs";

const limit = { timeout: 20_000 };
const answer = (status) => fake(() => new Response(null, { status }));

test("a sign-out posts to the app's path and every tab hears of it", limit, async (t) => {
  const tabs = browser(t);
  const send = answer(204);
  const here = tabs.open({ fetch: send, logout: "/bye" });
  const there = tabs.open();
  const response = await here.signOut({ headers: { "x-csrf": "1" }, method: "GET" });
  assert.equal(response.status, 204);
  assert.deepEqual(send.calls, [["/bye", { headers: { "x-csrf": "1" }, method: "POST" }]]);
  await until(() => there.seen.length > 0);
  assert.deepEqual(here.seen, [["signed-out", true]]);
  assert.deepEqual(there.seen, [["signed-out", false]]);
});

test("the path is /logout unless it is said", limit, async (t) => {
  const send = answer(200);
  await browser(t).open({ fetch: send }).signOut();
  assert.equal(send.calls[0][0], "/logout");
});

test("who is signed out already is signed out", limit, async (t) => {
  const tab = browser(t).open({ fetch: answer(401) });
  await tab.signOut();
  assert.deepEqual(tab.seen, [["signed-out", true]]);
});

test("a sign-out that failed is told to nobody", limit, async (t) => {
  const tabs = browser(t);
  const wire = tabs.wire();
  for (const status of [403, 404, 500, 503]) {
    const tab = tabs.open({ fetch: answer(status) });
    assert.equal((await tab.signOut()).status, status);
    assert.deepEqual(tab.seen, []);
  }
  const offline = tabs.open({
    fetch: fake(() => {
      throw new TypeError("offline");
    }),
  });
  await assert.rejects(offline.signOut(), /offline/);
  // Messages keep their order: had one been sent, it would be here before this one.
  offline.tell("signed-in");
  await until(() => wire.messages.length > 0);
  assert.deepEqual(wire.messages, [{ type: "signed-in" }]);
});

test("an app tells what it did or found out itself", limit, async (t) => {
  const tabs = browser(t);
  const [here, there] = [tabs.open(), tabs.open()];
  here.tell("signed-in");
  here.tell("signed-out");
  await until(() => there.seen.length === 2);
  assert.deepEqual(there.seen, [["signed-in", false], ["signed-out", false]]);
  assert.deepEqual(here.seen, [["signed-in", true], ["signed-out", true]]);
});

test("a listener that is taken off hears nothing", limit, async (t) => {
  const tab = browser(t).open();
  const heard = [];
  const off = tab.onChange((happening) => heard.push(happening));
  tab.tell("signed-in");
  await until(() => tab.seen.length === 1);
  off();
  tab.tell("signed-out");
  await until(() => tab.seen.length === 2);
  assert.deepEqual(heard, ["signed-in"]);
});

test("apps by other names hear nothing of it", limit, async (t) => {
  const [one, other] = [browser(t), browser(t)];
  const [here, there, elsewhere] = [one.open(), one.open(), other.open()];
  here.tell("signed-out");
  await until(() => there.seen.length > 0);
  assert.deepEqual(elsewhere.seen, []);
});

test("a closed client neither hears nor tells, and still works", limit, async (t) => {
  const tabs = browser(t);
  const wire = tabs.wire();
  const [closed, open] = [tabs.open({ fetch: answer(204) }), tabs.open()];
  closed.close();
  closed.close();
  await closed.signOut();
  open.tell("signed-in");
  await until(() => wire.messages.length > 0);
  assert.deepEqual(wire.messages, [{ type: "signed-in" }]);
  assert.deepEqual(closed.seen, [["signed-out", true]]);
});

test("without BroadcastChannel a tab is alone, and everything else works", limit, async (t) => {
  stub(t, "BroadcastChannel", undefined);
  const tab = browser(t).open({ fetch: answer(204) });
  await tab.signOut();
  assert.equal((await tab.refresh()).status, 204);
  await until(() => tab.seen.length === 2);
  assert.deepEqual(tab.seen, [["signed-out", true], ["refreshed", true]]);
});
