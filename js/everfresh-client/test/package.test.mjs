import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

const read = (path) => readFile(new URL(`../${path}`, import.meta.url), "utf8");

test("the bundle is smaller than 3 KiB and imports nothing", async () => {
  const built = await read("dist/index.js");
  assert.ok(Buffer.byteLength(built) < 3 * 1024, `${Buffer.byteLength(built)} bytes`);
  assert.doesNotMatch(built, /\bimport\b|\brequire\b/);
  const { dependencies, peerDependencies, sideEffects } = JSON.parse(await read("package.json"));
  assert.deepEqual([dependencies, peerDependencies, sideEffects], [undefined, undefined, false]);
});

test("the type declarations import nothing", async () => {
  assert.doesNotMatch(await read("dist/index.d.ts"), /\bfrom\b|import\(/);
});

test("the lock file contains no registry URL", async () => {
  const { packages } = JSON.parse(await read("package-lock.json"));
  for (const [name, { resolved }] of Object.entries(packages)) assert.equal(resolved, undefined, name);
});
