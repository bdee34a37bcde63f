/**
 * The browser's side of everfresh. Rules, caveats and an example are in the README.
 *
 * @module
 */

import { type Ended, type Message, once } from "./once.js";
import { type Fetch, patiently } from "./retry.js";
import { left, moment } from "./time.js";

/** How long a refresh may take, in milliseconds. */
const REFRESH_LIMIT = 30_000;

export interface Options {
  /** Where {@link Client.signOut} posts to. Default: `/logout`. */
  logout?: string;
  /** Where {@link Client.refresh} posts to. Default: `/auth/refresh`. */
  refresh?: string;
  /** A response header that says how many seconds the access token still lives. Default: none. */
  expiresInHeader?: string;
  /**
   * A cookie that scripts may read, and that says when the access token expires, in seconds since
   * 1970. Default: none.
   */
  expiresAtCookie?: string;
  /** The longest `Retry-After` that is waited for, in milliseconds. Default: 10,000. */
  longestWait?: number;
  /** Asked, with the arguments of `fetch`, before a request is sent again. Default: always. */
  mayRetry?: (...request: Parameters<typeof globalThis.fetch>) => boolean;
  /** What tabs know each other by. Where an origin has several apps, one each. Default: `everfresh`. */
  channel?: string;
  /** What sends requests. Default: the `fetch` of this page. */
  fetch?: typeof globalThis.fetch;
}

/** What happens to the session of this browser. */
export type Happening = "signed-in" | "signed-out" | "refreshed";

/** `here` says whether this tab did it, or another one. */
export type Listener = (happening: Happening, here: boolean) => void;

/** How a refresh ended. */
export interface Refreshed {
  /** Whether it is done. */
  ok: boolean;
  /** The answer's status: 401 if nobody is signed in; 0 if there was no answer. */
  status: number;
  /** Seconds until the access token expires, if the server said so. */
  expiresIn: number | undefined;
}

/** Its functions need no `this`: they can be handed on. */
export interface Client {
  /** As `fetch`; after an answer 503 with `Retry-After` it waits, and sends the request once more. */
  fetch: typeof globalThis.fetch;
  /** Seconds until the access token expires, 0 if it has; `undefined` as long as nobody said it. */
  expiresIn(): number | undefined;
  /**
   * Refreshes early, once for all tabs: whoever asks while it runs, or within a second of its end,
   * is told how it ended. Never rejects.
   */
  refresh(): Promise<Refreshed>;
  /**
   * Posts to the app's logout path, and tells all tabs if nobody is signed in any more: after any
   * 2xx, and after a 401. Gives the answer; rejects as `fetch` does.
   */
  signOut(init?: RequestInit): Promise<Response>;
  /** Tells all tabs, this one too, what the app has done or found out itself. */
  tell(happening: Exclude<Happening, "refreshed">): void;
  /** Runs a listener at every change, of whatever tab. Gives a function that ends this. */
  onChange(listener: Listener): () => boolean;
  /** Listens to the other tabs no longer, and tells them nothing more. */
  close(): void;
}

/** A client for one app. Make one per page. */
export function createClient(options: Options = {}): Client {
  const {
    logout = "/logout",
    refresh = "/auth/refresh",
    expiresInHeader,
    expiresAtCookie,
    longestWait = 10_000,
    mayRetry,
    channel: name = "everfresh",
    // Looked up when it is called: pages replace it.
    fetch: send = (...request: Parameters<Fetch>) => globalThis.fetch(...request),
  } = options;
  const listeners = new Set<Listener>();
  let channel: BroadcastChannel | undefined =
    globalThis.BroadcastChannel && new BroadcastChannel(name);
  let expiresAt: number | undefined;
  // Counts sign-ins and sign-outs: what was asked before one says nothing of the time after it.
  let era = 0;

  // Answers overtake each other, and within a session the expiry moves on: the latest counts.
  const learn = (at = 0) => {
    if (at > (expiresAt ?? 0)) expiresAt = at;
  };
  const hear = (message: Message, here: boolean) => {
    hearRefreshes(message);
    const { type } = message;
    if (type === "claim" || (type === "refreshed" && !message.ok)) return;
    if (type === "refreshed") learn(message.expiresAt);
    else {
      era++;
      expiresAt = undefined;
    }
    // Each by itself: an error in one is reported, and the others run.
    for (const listener of listeners) queueMicrotask(() => listener(type, here));
  };
  const say = (message: Message) => {
    channel?.postMessage(message);
    hear(message, true);
  };

  const request: Fetch = async (...request) => {
    const asked = era;
    const response = await patiently(send, longestWait, mayRetry, ...request);
    if (expiresInHeader && asked === era) {
      learn(moment(response.headers.get(expiresInHeader), Date.now()));
    }
    return response;
  };
  const callServer = async (): Promise<Ended> => {
    const asked = era;
    const ended: Ended = { type: "refreshed", ok: false, status: 0 };
    try {
      const signal = AbortSignal.timeout(REFRESH_LIMIT);
      const response = await request(refresh, { method: "POST", signal });
      ended.ok = response.ok;
      ended.status = response.status;
      const { expires_in } = await response.json();
      if (asked === era) ended.expiresAt = moment(expires_in, Date.now());
    } catch {
      // No answer, or a body that is not everfresh's: the status tells which.
    }
    return ended;
  };
  const [runRefresh, hearRefreshes] = once(name, callServer, say);

  if (channel) {
    channel.onmessage = ({ data }: MessageEvent<Message>) => hear(data, false);
    // On a server, nobody's channel should keep the process from its end.
    (channel as { unref?: () => void }).unref?.();
  }
  const tell: Client["tell"] = (type) => say({ type });
  return {
    fetch: request,
    expiresIn: () => left(moment(expiresAtCookie && cookie(expiresAtCookie), 0) ?? expiresAt),
    async refresh() {
      const { ok, status, expiresAt } = await runRefresh();
      return { ok, status, expiresIn: left(expiresAt) };
    },
    async signOut(init) {
      const response = await request(logout, { ...init, method: "POST" });
      if (response.ok || response.status === 401) tell("signed-out");
      return response;
    },
    tell,
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    close() {
      channel?.close();
      channel = undefined;
    },
  };
}

const cookie = (name: string) =>
  globalThis.document?.cookie
    .split("; ")
    .find((pair) => pair.startsWith(`${name}=`))
    ?.slice(name.length + 1);
