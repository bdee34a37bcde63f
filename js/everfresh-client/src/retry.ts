/** One more try where a server says when: the answer 503 with `Retry-After`. */

import { moment } from "./time.js";

export type Fetch = typeof globalThis.fetch;
export type Arguments = Parameters<Fetch>;

/** Sends a request, and once more if its answer asks for that and `mayRetry` agrees. */
export async function patiently(
  send: Fetch,
  longestWait: number,
  mayRetry: ((...request: Arguments) => boolean) | undefined,
  ...request: Arguments
): Promise<Response> {
  // Asked before it is sent: what has been sent has no body any more.
  const again = canBeSentAgain(...request);
  const response = await send(...request);
  if (response.status !== 503 || !again) return response;
  const wait = retryAfter(response.headers.get("retry-after") ?? "");
  // Not a number is never within the limit.
  if (!(wait <= longestWait) || mayRetry?.(...request) === false) return response;
  // Nobody reads this answer: its connection is free for the next one.
  response.body?.cancel().catch(() => {});
  const [input, init] = request;
  await pause(wait, init?.signal ?? (input as Request).signal);
  return send(...request);
}

/**
 * Whether a second call of `fetch` with the same arguments sends the same request. A stream is
 * read once, and the body of a `Request` is a stream.
 */
function canBeSentAgain(input: Arguments[0], init: Arguments[1]): boolean {
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
    // Not every browser tells a Request's body; these methods have none.
    /^(GET|HEAD)$/.test(input.method)
  );
}

/** Milliseconds until a server wants to be asked again (RFC 9110 section 10.2.3); NaN if unsaid. */
function retryAfter(value: string): number {
  // `Date.parse` reads nearly anything; HTTP's dates end like this.
  const date = value.endsWith(" GMT") ? Date.parse(value) : NaN;
  return moment(value, 0) ?? Math.max(0, date - Date.now());
}

/** Waits, or rejects with the signal's reason as `fetch` would. */
function pause(milliseconds: number, signal: AbortSignal | null | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    signal?.addEventListener("abort", stop);
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
  });
}
