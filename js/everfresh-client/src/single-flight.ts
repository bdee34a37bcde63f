/** One refresh request for all tabs of an origin. */

import { sleep } from "./time.js";

/** A message between tabs. It contains no token and no name of a user. */
export type Message =
  | { type: "signed-in" | "signed-out" }
  | RefreshedMessage
  /** Without Web Locks: a tab wants to send the refresh request. The lowest `id` wins. */
  | { type: "candidate"; id: number };

/** The result of a refresh request. */
export interface RefreshedMessage {
  type: "refreshed";
  ok: boolean;
  /** The status of the response, or 0 if none came. */
  status: number;
  /** When the access token expires, in milliseconds since 1970 by this device's clock. */
  expiresAt?: number | undefined;
}

/**
 * How long a result is returned to later calls, in milliseconds. The lock is held for as long after
 * the request, because a message may arrive in another tab later than the lock.
 */
const RESULT_LIFETIME = 1000;
/** Without Web Locks: how long a tab collects other candidates, in milliseconds. */
const ELECTION = 100;
/**
 * Without Web Locks: how long a tab waits for the elected tab's result, in milliseconds, before it
 * sends the request itself. Longer than a refresh request may take.
 */
const RESULT_TIMEOUT = 35_000;
/** The `id` of a tab that is sending the request: lower than any candidate's. */
const ELECTED = -1;

/**
 * Makes the single flight of one tab.
 *
 * @param lock - the name of the Web Lock
 * @param callServer - sends the refresh request; it never rejects
 * @param post - delivers a message to every tab, this one included
 * @returns `run`, which returns the result of the shared refresh, and `receive`, which must be
 * called with every message
 */
export function singleFlight(
  lock: string,
  callServer: () => Promise<RefreshedMessage>,
  post: (message: Message) => void,
): [run: () => Promise<RefreshedMessage>, receive: (message: Message) => void] {
  let running: Promise<RefreshedMessage> | undefined;
  let latest: RefreshedMessage | undefined;
  let latestAt = 0;
  let onResult: ((result: RefreshedMessage) => void) | undefined;
  let onCandidate: ((id: number) => void) | undefined;

  const refresh = async () => post(await callServer());

  /** Sends the request in one tab, by a Web Lock or by an election. */
  const compete = async (result: Promise<RefreshedMessage>, done: AbortSignal): Promise<void> => {
    const locks = globalThis.navigator?.locks;
    if (!locks) return elect(result);
    const granted = async () => {
      if (done.aborted) return;
      await refresh();
      await sleep(RESULT_LIFETIME);
    };
    // The request for the lock rejects if this tab has the result already, and if the document's
    // origin is opaque. In the second case this tab refreshes by itself.
    return locks.request(lock, { signal: done }, granted).catch(async () => {
      if (!done.aborted) await refresh();
    });
  };

  /** Two tabs may win if a message takes longer than the election. The server tolerates that. */
  const elect = async (result: Promise<RefreshedMessage>): Promise<void> => {
    let own = Math.random();
    let lost = false;
    const stand = () => post({ type: "candidate", id: own });
    onCandidate = (id) => {
      if (id < own) lost = true;
      // The other tab may have missed this tab's message, because it was not listening yet.
      if (id > own) stand();
    };
    stand();
    if (await Promise.race([result, sleep(ELECTION)])) return;
    if (lost && (await Promise.race([result, sleep(RESULT_TIMEOUT)]))) return;
    own = ELECTED;
    await refresh();
  };

  const start = async (): Promise<RefreshedMessage> => {
    if (latest && Date.now() - latestAt < RESULT_LIFETIME) return latest;
    const done = new AbortController();
    const result = new Promise<RefreshedMessage>((resolve) => (onResult = resolve));
    void compete(result, done.signal);
    const received = await result;
    done.abort();
    onResult = onCandidate = undefined;
    return received;
  };

  return [
    () => (running ??= start().finally(() => (running = undefined))),
    (message) => {
      if (message.type === "candidate") return onCandidate?.(message.id);
      // A sign-in or sign-out discards the result of an earlier refresh.
      latest = message.type === "refreshed" ? message : undefined;
      latestAt = Date.now();
      if (latest) onResult?.(latest);
    },
  ];
}
