/** One refresh for all tabs. */

import { sleep } from "./time.js";

/** What tabs tell each other: no token, and nobody's name. */
export type Message =
  | { type: "signed-in" | "signed-out" }
  | Ended
  /** Somebody wants to refresh. The lowest number may. */
  | { type: "claim"; by: number };

/** How a refresh ended. */
export interface Ended {
  type: "refreshed";
  ok: boolean;
  /** The answer's status; 0 where none came. */
  status: number;
  /** Milliseconds since 1970 by this device's clock. */
  expiresAt?: number | undefined;
}

/**
 * How long a refresh that has ended counts for whoever asks for one, in milliseconds. Locks and
 * messages travel apart: the lock is kept for this long, so that the news arrives before it.
 */
const TOGETHER = 1000;
/** How long tabs without locks listen for others who want the same. */
const VOTE = 100;
/** Longer than a refresh takes: whoever has heard nothing by then asks the server itself. */
const PATIENCE = 35_000;
/** Lower than any vote: the claim of a tab that is at it already. */
const UNBEATEN = -1;

/**
 * Gives a function that refreshes or waits for the tab that does, and one that hears what tabs
 * say. `call` never rejects; what `say` says, the other tabs hear, and this one as well.
 */
export function once(
  name: string,
  call: () => Promise<Ended>,
  say: (message: Message) => void,
): [run: () => Promise<Ended>, hear: (message: Message) => void] {
  let running: Promise<Ended> | undefined;
  let last: Ended | undefined;
  let lastAt = 0;
  let news: ((ended: Ended) => void) | undefined;
  let rival: ((vote: number) => void) | undefined;

  const callAndSay = async () => say(await call());

  /** Calls, unless somebody else is heard to have done it. */
  async function compete(heard: Promise<Ended>, over: AbortSignal): Promise<void> {
    const locks = globalThis.navigator?.locks;
    if (!locks) return vote(heard);
    const held = async () => {
      if (over.aborted) return;
      await callAndSay();
      await sleep(TOGETHER);
    };
    // Who has left the queue needs nothing; a document without an origin gets no lock.
    return locks.request(name, { signal: over }, held).catch(async () => {
      if (!over.aborted) await callAndSay();
    });
  }

  /** Without locks. Two may win if messages take longer than the vote: the server bears that. */
  async function vote(heard: Promise<Ended>): Promise<void> {
    let mine = Math.random();
    let beaten = false;
    const claim = () => say({ type: "claim", by: mine });
    rival = (by) => {
      if (by < mine) beaten = true;
      // They may not have listened yet when we spoke.
      if (by > mine) claim();
    };
    claim();
    if (await Promise.race([heard, sleep(VOTE)])) return;
    if (beaten && (await Promise.race([heard, sleep(PATIENCE)]))) return;
    mine = UNBEATEN;
    await callAndSay();
  }

  async function start(): Promise<Ended> {
    if (last && Date.now() - lastAt < TOGETHER) return last;
    const over = new AbortController();
    const heard = new Promise<Ended>((resolve) => (news = resolve));
    void compete(heard, over.signal);
    const ended = await heard;
    over.abort();
    news = rival = undefined;
    return ended;
  }

  return [
    () => (running ??= start().finally(() => (running = undefined))),
    (message) => {
      if (message.type === "claim") return rival?.(message.by);
      // After a sign-in or sign-out, what was before counts for nothing.
      last = message.type === "refreshed" ? message : undefined;
      lastAt = Date.now();
      if (last) news?.(last);
    },
  ];
}
