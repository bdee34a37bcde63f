/**
 * The browser client of everfresh. The README has the rules, the caveats and an example.
 *
 * @module
 */

import { type Fetch, fetchWithRetry } from "./retry.js";
import { type Message, type RefreshedMessage, singleFlight } from "./single-flight.js";
import { addSeconds, secondsUntil } from "./time.js";

/** How long a refresh request may take, in milliseconds. */
const REFRESH_TIMEOUT = 30_000;

/** The options of {@link createClient}. */
export interface ClientOptions {
  /** The URL that {@link Client.signOut} posts to. Default: `/logout`. */
  logoutUrl?: string;
  /** The URL that {@link Client.refresh} posts to. Default: `/auth/refresh`. */
  refreshUrl?: string;
  /**
   * The name of a response header field with the seconds until the access token expires, as a whole
   * number. Default: none.
   */
  expiresInHeader?: string;
  /**
   * The name of a cookie with the time at which the access token expires, in whole seconds since
   * 1970. Scripts must be able to read the cookie. Default: none.
   */
  expiresAtCookie?: string;
  /**
   * The longest `Retry-After` that {@link Client.fetch} waits for, in milliseconds.
   * Default: 10,000.
   */
  maxRetryAfter?: number;
  /**
   * Called with the arguments of `fetch` before a request is sent again. The request is not sent
   * again if it returns false. Default: every request may be.
   */
  mayRetry?: (...request: Parameters<typeof globalThis.fetch>) => boolean;
  /**
   * The name of the `BroadcastChannel` and of the Web Lock that tabs share. Each app on an origin
   * needs its own. Default: `everfresh`.
   */
  channel?: string;
  /** The function that sends requests. Default: the page's `fetch` at the time of the call. */
  fetch?: typeof globalThis.fetch;
}

/** A change of this browser's session. */
export type SessionEvent = "signed-in" | "signed-out" | "refreshed";

/** Called with each change, and with whether this tab caused it. */
export type SessionListener = (event: SessionEvent, fromThisTab: boolean) => void;

/** The result of {@link Client.refresh}. */
export interface RefreshResult {
  /** Whether the status is 2xx. */
  ok: boolean;
  /**
   * The status of the response: 401 if there is no session. 0 if no response came within 30 s.
   */
  status: number;
  /** Seconds until the access token expires, if the response contains `expires_in`. */
  expiresIn: number | undefined;
}

/** The client of one page. Its methods don't use `this`, so they can be passed on. */
export interface Client {
  /**
   * Takes the arguments of `fetch`. After a 503 with `Retry-After` it waits and sends the request
   * once more. Rejects as `fetch` does.
   */
  fetch: typeof globalThis.fetch;
  /**
   * Returns the seconds until the access token expires, or 0 if it has expired. Returns `undefined`
   * if no response and no cookie contained the time.
   */
  expiresIn(): number | undefined;
  /**
   * Refreshes the tokens early, with one request for all tabs. A call during the request, or within
   * a second of its end, gets the same result. Never rejects.
   */
  refresh(): Promise<RefreshResult>;
  /**
   * Posts to the logout URL and returns the response. After a 2xx or a 401 every tab gets
   * `signed-out`. Rejects as `fetch` does.
   */
  signOut(init?: RequestInit): Promise<Response>;
  /** Sends `signed-in` or `signed-out` to every tab, this one included. */
  notify(event: Exclude<SessionEvent, "refreshed">): void;
  /** Adds a listener for changes in every tab. Returns a function that removes it. */
  onChange(listener: SessionListener): () => boolean;
  /** Stops the exchange of messages with other tabs. The other methods still work in this tab. */
  close(): void;
}

/** Creates the client of one app. A page needs one. */
export function createClient(options: ClientOptions = {}): Client {
  const {
    logoutUrl = "/logout",
    refreshUrl = "/auth/refresh",
    expiresInHeader,
    expiresAtCookie,
    maxRetryAfter = 10_000,
    mayRetry,
    channel: name = "everfresh",
    // Looked up at each call, because a page may replace its `fetch`.
    fetch: send = (...request: Parameters<Fetch>) => globalThis.fetch(...request),
  } = options;
  const listeners = new Set<SessionListener>();
  let channel: BroadcastChannel | undefined =
    globalThis.BroadcastChannel && new BroadcastChannel(name);
  let expiresAt: number | undefined;
  // Counts sign-ins and sign-outs. A response to a request from before one says nothing of the
  // session after it.
  let epoch = 0;

  // Responses may overtake each other. Within a session the expiry grows, so the latest counts.
  const updateExpiry = (time = 0) => {
    if (time > (expiresAt ?? 0)) expiresAt = time;
  };
  const receive = (message: Message, fromThisTab: boolean) => {
    receiveInFlight(message);
    const { type } = message;
    if (type === "candidate" || (type === "refreshed" && !message.ok)) return;
    if (type === "refreshed") updateExpiry(message.expiresAt);
    else {
      epoch++;
      expiresAt = undefined;
    }
    // A microtask each: the browser reports an error in one listener, and the other ones run.
    for (const listener of listeners) queueMicrotask(() => listener(type, fromThisTab));
  };
  const post = (message: Message) => {
    channel?.postMessage(message);
    receive(message, true);
  };

  const request: Fetch = async (...request) => {
    const epochAtStart = epoch;
    const response = await fetchWithRetry(send, maxRetryAfter, mayRetry, ...request);
    if (expiresInHeader && epochAtStart === epoch) {
      updateExpiry(addSeconds(Date.now(), response.headers.get(expiresInHeader)));
    }
    return response;
  };
  const callServer = async (): Promise<RefreshedMessage> => {
    const epochAtStart = epoch;
    const result: RefreshedMessage = { type: "refreshed", ok: false, status: 0 };
    try {
      const signal = AbortSignal.timeout(REFRESH_TIMEOUT);
      const response = await request(refreshUrl, { method: "POST", signal });
      result.ok = response.ok;
      result.status = response.status;
      const { expires_in } = await response.json();
      if (epochAtStart === epoch) result.expiresAt = addSeconds(Date.now(), expires_in);
    } catch {
      // No response came, or its body is not JSON. `status` distinguishes the two.
    }
    return result;
  };
  const [runRefresh, receiveInFlight] = singleFlight(name, callServer, post);

  if (channel) {
    channel.onmessage = ({ data }: MessageEvent<Message>) => receive(data, false);
    // In Node.js an open channel would keep the process running.
    (channel as { unref?: () => void }).unref?.();
  }
  const notify: Client["notify"] = (type) => post({ type });
  return {
    fetch: request,
    expiresIn: () =>
      secondsUntil(addSeconds(0, expiresAtCookie && readCookie(expiresAtCookie)) ?? expiresAt),
    async refresh() {
      const { ok, status, expiresAt } = await runRefresh();
      return { ok, status, expiresIn: secondsUntil(expiresAt) };
    },
    async signOut(init) {
      const response = await request(logoutUrl, { ...init, method: "POST" });
      if (response.ok || response.status === 401) notify("signed-out");
      return response;
    },
    notify,
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

/** Returns the value of a cookie that scripts may read. Outside of a page there is none. */
const readCookie = (name: string) =>
  globalThis.document?.cookie
    .split("; ")
    .find((pair) => pair.startsWith(`${name}=`))
    ?.slice(name.length + 1);
