/**
 * Returns `start` plus a number of whole seconds, in milliseconds. Returns `undefined` if `seconds`
 * is not a sequence of digits, as text or as a number.
 */
export const addSeconds = (start: number, seconds: unknown) =>
  /^\d+$/.test(`${seconds}`) ? start + Number(seconds) * 1000 : undefined;

/** Returns the seconds until a time in milliseconds since 1970, or 0 if it has passed. */
export const secondsUntil = (time: number | undefined) =>
  time && Math.max(0, (time - Date.now()) / 1000);

/** Resolves after so many milliseconds. */
export const sleep = (milliseconds: number) =>
  new Promise<undefined>((resolve) => setTimeout(resolve, milliseconds));
