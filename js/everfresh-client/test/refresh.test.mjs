import assert from "node:assert/strict";
import { test } from "node:test";

import { browser, fake, stub, until } from "./world.mjs";

const limit = { timeout: 20_000 };
const good = (seconds = 900) =>
  Response.json({ sub: "ada", sid: "s", expires_in: seconds, session_expires_in: 86_400 });
const nothing = async () => {
  for (let i = 0; i < 50; i += 1) await new Promise(setImmediate);
};

/** Locks as the web has them: one holder, then who waits, in order. */
function lockManager() {
  let last = Promise.resolve();
  const manager = {
    /** How many hold or wait. */
    pending: 0,
    request(name, { signal }, held) {
      manager.pending += 1;
      const left = new Promise((_, reject) => {
        signal.addEventListener("abort", () => reject(signal.reason));
      });
      let granted = false;
      const run = last.then(async () => {
        if (signal.aborted) return;
        granted = true;
        await held({ name });
      });
      last = run.finally(() => (manager.pending -= 1));
      // Who holds the lock can't leave the queue any more.
      return Promise.race([run, left.catch((reason) => (granted ? run : Promise.reject(reason)))]);
    },
  };
  return manager;
}

/** Each test runs by locks, and by vote where there are none. */
function each(name, body) {
  for (const kind of ["locks", "votes"]) {
    test(`${name}, by ${kind}`, limit, async (t) => {
      stub(t, "navigator", { locks: kind === "locks" ? lockManager() : undefined });
      await body(t, kind);
    });
  }
}

each("five tabs that refresh together ask the server once", async (t) => {
  const tabs = browser(t);
  const send = fake(async () => {
    await nothing();
    return good();
  });
  const five = Array.from({ length: 5 }, () => tabs.open({ fetch: send }));
  const ended = await Promise.all(five.map((tab) => tab.refresh()));
  assert.equal(send.calls.length, 1);
  const [path, { method, body }] = send.calls[0];
  assert.deepEqual([path, method, body], ["/auth/refresh", "POST", undefined]);
  for (const [index, { ok, status, expiresIn }] of ended.entries()) {
    assert.deepEqual([ok, status], [true, 200]);
    assert.ok(expiresIn > 890 && expiresIn <= 900, `${expiresIn}`);
    const left = five[index].expiresIn();
    assert.ok(left > 890 && left <= 900, `${left}`);
  }
  await nothing();
  const here = five.flatMap(({ seen }) => seen).map(([happening, own]) => {
    assert.equal(happening, "refreshed");
    return own;
  });
  assert.deepEqual(here.sort(), [false, false, false, false, true]);
});

each("what a tab asks twice is one refresh", async (t) => {
  const send = fake(() => good());
  const tab = browser(t).open({ fetch: send, refresh: "/renew" });
  const [one, other] = await Promise.all([tab.refresh(), tab.refresh()]);
  assert.equal(one.status, other.status);
  assert.deepEqual(send.calls.map(([path]) => path), ["/renew"]);
});

each("a refresh of a moment ago counts, and one of a second ago does not", async (t, kind) => {
  t.mock.timers.enable({ apis: ["Date"], now: 1_800_000_000_000 });
  const tabs = browser(t);
  const send = fake(() => good());
  const [here, there] = [tabs.open({ fetch: send }), tabs.open({ fetch: send })];
  await here.refresh();
  await until(() => there.seen.length > 0);
  t.mock.timers.tick(999);
  assert.equal((await there.refresh()).status, 200);
  assert.equal((await here.refresh()).status, 200);
  assert.equal(send.calls.length, 1);
  t.mock.timers.tick(1);
  await there.refresh();
  assert.equal(send.calls.length, 2, kind);
});

each("a failure is everybody's, and nobody's error", async (t) => {
  for (const [status, make] of [
    [401, () => new Response(null, { status: 401 })],
    [503, () => new Response(null, { status: 503 })],
    [0, () => Promise.reject(new TypeError("offline"))],
  ]) {
    const tabs = browser(t);
    const send = fake(make);
    const two = [tabs.open({ fetch: send }), tabs.open({ fetch: send })];
    const ended = await Promise.all(two.map((tab) => tab.refresh()));
    const expected = { ok: false, status, expiresIn: undefined };
    assert.deepEqual(ended, [expected, expected]);
    assert.equal(send.calls.length, 1);
    await nothing();
    assert.deepEqual(two.flatMap(({ seen }) => seen), [], "nothing has happened to the session");
    assert.equal(two[0].expiresIn(), undefined);
  }
});

each("an answer that says nothing of an expiry is good as well", async (t) => {
  const tab = browser(t).open({ fetch: fake(() => new Response(null, { status: 204 })) });
  assert.deepEqual(await tab.refresh(), { ok: true, status: 204, expiresIn: undefined });
});

each("what was asked before a sign-out says nothing after it", async (t) => {
  const tabs = browser(t);
  let reply;
  const send = fake(() => new Promise((resolve) => (reply = resolve)));
  const tab = tabs.open({ fetch: send });
  const refreshing = tab.refresh();
  await until(() => reply);
  tab.tell("signed-out");
  reply(good());
  await refreshing;
  assert.equal(tab.expiresIn(), undefined);
});

each("after a sign-in the refresh of whoever was there before does not count", async (t) => {
  const send = fake(() => good());
  const tab = browser(t).open({ fetch: send });
  await tab.refresh();
  tab.tell("signed-in");
  assert.equal(tab.expiresIn(), undefined);
  await tab.refresh();
  assert.equal(send.calls.length, 2);
});

each("neither tokens nor people are in what tabs tell each other", async (t) => {
  const tabs = browser(t);
  const wire = tabs.wire();
  const tab = tabs.open({ fetch: fake(() => good()) });
  await tab.refresh();
  tab.tell("signed-out");
  await until(() => wire.messages.at(-1)?.type === "signed-out");
  const allowed = { claim: ["by"], refreshed: ["expiresAt", "ok", "status"], "signed-out": [] };
  for (const { type, ...rest } of wire.messages) {
    assert.deepEqual(Object.keys(rest).sort(), allowed[type]);
    for (const value of Object.values(rest)) assert.notEqual(typeof value, "string");
  }
});

test("who was told leaves the queue and does not call later", limit, async (t) => {
  const locks = lockManager();
  stub(t, "navigator", { locks });
  const tabs = browser(t);
  const send = fake(() => good());
  const three = Array.from({ length: 3 }, () => tabs.open({ fetch: send }));
  await Promise.all(three.map((tab) => tab.refresh()));
  assert.ok(locks.pending > 0, "the lock is kept until everybody has heard");
  await until(() => locks.pending === 0);
  assert.equal(send.calls.length, 1);
});

test("where locks are refused a tab refreshes by itself", limit, async (t) => {
  const request = async () => {
    throw new DOMException("opaque origin", "SecurityError");
  };
  stub(t, "navigator", { locks: { request } });
  const send = fake(() => good());
  assert.equal((await browser(t).open({ fetch: send }).refresh()).status, 200);
  assert.equal(send.calls.length, 1);
});

test("a tab that won the vote and is gone is waited for, and not forever", limit, async (t) => {
  stub(t, "navigator", {});
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const tabs = browser(t);
  const wire = tabs.wire();
  const send = fake(() => good());
  const refreshing = tabs.open({ fetch: send }).refresh();
  wire.postMessage({ type: "claim", by: -1 });
  await nothing();
  t.mock.timers.tick(100);
  await nothing();
  t.mock.timers.tick(34_999);
  await nothing();
  assert.equal(send.calls.length, 0);
  t.mock.timers.tick(1);
  assert.equal((await refreshing).status, 200);
});

test("who comes while a tab without locks refreshes waits for it", limit, async (t) => {
  stub(t, "navigator", {});
  const tabs = browser(t);
  let reply;
  const send = fake(() => new Promise((resolve) => (reply = resolve)));
  const first = tabs.open({ fetch: send }).refresh();
  await until(() => reply);
  const wire = tabs.wire();
  const second = tabs.open({ fetch: send }).refresh();
  await until(() => wire.messages.some(({ by }) => by === -1));
  reply(good());
  await Promise.all([first, second]);
  assert.equal(send.calls.length, 1);
});
