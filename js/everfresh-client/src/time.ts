/** The moment so many whole seconds after `start`, in milliseconds; `undefined` if it isn't told. */
export const moment = (seconds: unknown, start: number) =>
  /^\d+$/.test(`${seconds}`) ? start + Number(seconds) * 1000 : undefined;

/** The seconds until a moment, 0 if it is over. */
export const left = (at: number | undefined) =>
  at && Math.max(0, (at - Date.now()) / 1000);

export const sleep = (milliseconds: number) =>
  new Promise<undefined>((resolve) => setTimeout(resolve, milliseconds));
