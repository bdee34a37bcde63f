/** One retry after a 503 with `Retry-After` (RFC 9110 sections 10.2.3 and 15.6.4). */

import { addSeconds } from "./time.js";

export type Fetch = typeof globalThis.fetch;
export type FetchArguments = Parameters<Fetch>;

/**
 * Sends a request. After a 503 with a `Retry-After` of at most `maxRetryAfter` milliseconds, waits
 * and sends the request once more, unless its body can't be sent again or `mayRetry` returns false.
 */
export async function fetchWithRetry(
  send: Fetch,
  maxRetryAfter: number,
  mayRetry: ((...request: FetchArguments) => boolean) | undefined,
  ...request: FetchArguments
): Promise<Response> {
  // Checked before the first `fetch`, which consumes the body of a `Request`.
  const repeatable = isRepeatable(...request);
  const response = await send(...request);
  if (response.status !== 503 || !repeatable) return response;
  const delay = retryAfter(response.headers.get("retry-after") ?? "");
  // A comparison with NaN is false, so an unreadable `Retry-After` causes no retry.
  if (!(delay <= maxRetryAfter) || mayRetry?.(...request) === false) return response;
  // The page gets the second response. Cancelling the first body frees its connection.
  response.body?.cancel().catch(() => {});
  const [input, init] = request;
  await abortableSleep(delay, init?.signal ?? (input as Request).signal);
  return send(...request);
}

/**
 * Returns whether a second call of `fetch` with the same arguments sends the same request. A stream
 * can be read only once, and the body of a `Request` is a stream.
 */
function isRepeatable(input: FetchArguments[0], init: FetchArguments[1]): boolean {
  const body = init?.body;
  if (body !== undefined && body !== null) {
    return (
      typeof body === "string" ||
      ArrayBuffer.isView(body) ||
      [URLSearchParams, FormData, Blob, ArrayBuffer].some((kind) => body instanceof kind)
    );
  }
  return (
    typeof input === "string" ||
    input instanceof URL ||
    input.body === null ||
    // Some browsers lack `Request.body`. A request with one of these methods has no body.
    /^(GET|HEAD)$/.test(input.method)
  );
}

/**
 * Returns the delay that a `Retry-After` field asks for, in milliseconds (RFC 9110 section 10.2.3).
 * Returns NaN if the value is neither whole seconds nor an HTTP date.
 */
function retryAfter(value: string): number {
  const seconds = addSeconds(0, value);
  // `Date.parse` accepts many other formats. An HTTP date ends with " GMT".
  return seconds ?? (value.endsWith(" GMT") ? Math.max(0, Date.parse(value) - Date.now()) : NaN);
}

/** Resolves after so many milliseconds. Rejects with the signal's reason, as `fetch` does. */
function abortableSleep(
  milliseconds: number,
  signal: AbortSignal | null | undefined,
): Promise<void> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const abort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    signal?.addEventListener("abort", abort);
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", abort);
      resolve();
    }, milliseconds);
  });
}
