import assert from "node:assert/strict";
import { test } from "node:test";

import { browser, fakeFetch, stubGlobal } from "./helpers.mjs";

const NOW = 1_800_000_000_000;
const timeLimit = { timeout: 20_000 };

function mockClock(t) {
  t.mock.timers.enable({ apis: ["Date"], now: NOW });
  return t.mock.timers;
}

/** A `fetch` whose responses carry these values of `X-Expires-In`, in turn. */
const expiresIn = (...values) =>
  fakeFetch((nth) => {
    const value = values[nth - 1];
    return new Response(null, value === undefined ? {} : { headers: { "x-expires-in": value } });
  });

test("expiresIn counts down from the value of the header", timeLimit, async (t) => {
  const time = mockClock(t);
  const tab = browser(t).open({ fetch: expiresIn("900"), expiresInHeader: "X-Expires-In" });
  assert.equal(tab.expiresIn(), undefined);
  await tab.fetch("/");
  assert.equal(tab.expiresIn(), 900);
  time.tick(899_500);
  assert.equal(tab.expiresIn(), 0.5);
  time.tick(5_000);
  assert.equal(tab.expiresIn(), 0);
});

test("the header is ignored unless expiresInHeader names it", timeLimit, async (t) => {
  const tab = browser(t).open({ fetch: expiresIn("900") });
  await tab.fetch("/");
  assert.equal(tab.expiresIn(), undefined);
});

test("the latest expiry counts if responses overtake each other", timeLimit, async (t) => {
  mockClock(t);
  const tab = browser(t).open({ fetch: expiresIn("900", "3", undefined), expiresInHeader: "x-expires-in" });
  for (let i = 0; i < 3; i += 1) await tab.fetch("/");
  assert.equal(tab.expiresIn(), 900);
});

test("a header value that is not a whole number is ignored", timeLimit, async (t) => {
  for (const value of ["", "soon", "-5", "1e3", "0x10", "12.5", "NaN"]) {
    const tab = browser(t).open({ fetch: expiresIn(value), expiresInHeader: "x-expires-in" });
    await tab.fetch("/");
    assert.equal(tab.expiresIn(), undefined, value);
  }
});

test("a sign-out resets the expiry, and a late response does not set it", timeLimit, async (t) => {
  let respond;
  const responses = [
    async () => new Response(null, { headers: { "x-expires-in": "900" } }),
    () => new Promise((resolve) => (respond = resolve)),
  ];
  const tab = browser(t).open({ fetch: fakeFetch((nth) => responses[nth - 1]()), expiresInHeader: "x-expires-in" });
  await tab.fetch("/");
  const late = tab.fetch("/");
  tab.notify("signed-out");
  assert.equal(tab.expiresIn(), undefined);
  respond(new Response(null, { headers: { "x-expires-in": "900" } }));
  await late;
  assert.equal(tab.expiresIn(), undefined);
});

test("a readable cookie counts before the header", timeLimit, async (t) => {
  mockClock(t);
  const page = { cookie: "" };
  stubGlobal(t, "document", page);
  const tab = browser(t).open({ fetch: expiresIn("900"), expiresInHeader: "x-expires-in", expiresAtCookie: "until" });
  assert.equal(tab.expiresIn(), undefined);
  for (const [cookie, expected] of [
    [`until=${NOW / 1000 + 60}`, 60],
    [`theme=dark; until=${NOW / 1000 + 61}; x=1`, 61],
    [`not_until=${NOW / 1000 + 62}`, undefined],
    [`until=${NOW / 1000 - 10}`, 0],
    ["until=tomorrow", undefined],
    ["until=", undefined],
  ]) {
    page.cookie = cookie;
    assert.equal(tab.expiresIn(), expected, cookie);
  }
  await tab.fetch("/");
  assert.equal(tab.expiresIn(), 900, "the cookie has no number, so the header counts");
  page.cookie = `until=${NOW / 1000 + 60}`;
  assert.equal(tab.expiresIn(), 60);
});
