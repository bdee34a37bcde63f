import assert from "node:assert/strict";
import { test } from "node:test";

import { browser, fake, stub } from "./world.mjs";

const NOW = 1_800_000_000_000;
const limit = { timeout: 20_000 };

function clock(t) {
  t.mock.timers.enable({ apis: ["Date"], now: NOW });
  return t.mock.timers;
}

/** Answers with these values of a header, in turn. */
const saying = (...values) =>
  fake((nth) => {
    const value = values[nth - 1];
    return new Response(null, value === undefined ? {} : { headers: { "x-expires-in": value } });
  });

test("a header says how many seconds are left, and they run out", limit, async (t) => {
  const time = clock(t);
  const tab = browser(t).open({ fetch: saying("900"), expiresInHeader: "X-Expires-In" });
  assert.equal(tab.expiresIn(), undefined);
  await tab.fetch("/");
  assert.equal(tab.expiresIn(), 900);
  time.tick(899_500);
  assert.equal(tab.expiresIn(), 0.5);
  time.tick(5_000);
  assert.equal(tab.expiresIn(), 0);
});

test("a header that nobody named is not read", limit, async (t) => {
  const tab = browser(t).open({ fetch: saying("900") });
  await tab.fetch("/");
  assert.equal(tab.expiresIn(), undefined);
});

test("of answers that overtake each other the latest expiry counts", limit, async (t) => {
  clock(t);
  const tab = browser(t).open({ fetch: saying("900", "3", undefined), expiresInHeader: "x-expires-in" });
  for (let i = 0; i < 3; i += 1) await tab.fetch("/");
  assert.equal(tab.expiresIn(), 900);
});

test("what is not a whole number is not an expiry", limit, async (t) => {
  for (const value of ["", "soon", "-5", "1e3", "0x10", "12.5", "NaN"]) {
    const tab = browser(t).open({ fetch: saying(value), expiresInHeader: "x-expires-in" });
    await tab.fetch("/");
    assert.equal(tab.expiresIn(), undefined, value);
  }
});

test("after a sign-out nothing is left, whatever answers come late", limit, async (t) => {
  let reply;
  const answers = [async () => new Response(null, { headers: { "x-expires-in": "900" } }), () => new Promise((resolve) => (reply = resolve))];
  const tab = browser(t).open({ fetch: fake((nth) => answers[nth - 1]()), expiresInHeader: "x-expires-in" });
  await tab.fetch("/");
  const late = tab.fetch("/");
  tab.tell("signed-out");
  assert.equal(tab.expiresIn(), undefined);
  reply(new Response(null, { headers: { "x-expires-in": "900" } }));
  await late;
  assert.equal(tab.expiresIn(), undefined);
});

test("a readable cookie says the moment, and counts before what was heard", limit, async (t) => {
  clock(t);
  const page = { cookie: "" };
  stub(t, "document", page);
  const tab = browser(t).open({ fetch: saying("900"), expiresInHeader: "x-expires-in", expiresAtCookie: "until" });
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
  assert.equal(tab.expiresIn(), 900, "the cookie can't be read");
  page.cookie = `until=${NOW / 1000 + 60}`;
  assert.equal(tab.expiresIn(), 60);
});
