// The environment: every variable, what is allowed, and one clear line where it isn't.

const TEN_YEARS = 10 * 365 * 24 * 60 * 60;

/** Ends the process with one line that names the variable, what was found and what is allowed. */
function refuse(name, found, allowed) {
  process.stderr.write(`${name}=${JSON.stringify(found)}: allowed is ${allowed}\n`);
  process.exit(2);
}

function number(name, fallback, least, most) {
  const found = process.env[name];
  if (found === undefined) return fallback;
  const value = Number(found);
  const good = /^\d+$/.test(found) && value >= least && value <= most;
  return good ? value : refuse(name, found, `a whole number from ${least} to ${most}`);
}

function choice(name, ...allowed) {
  const found = process.env[name] ?? allowed[0];
  return allowed.includes(found) ? found : refuse(name, found, allowed.join(', '));
}

function json(name) {
  const found = process.env[name];
  if (found === undefined) return undefined;
  try {
    return JSON.parse(found);
  } catch {
    return refuse(name, found, 'JSON');
  }
}

export const settings = {
  /** 0 lets the system choose. */
  port: number('PORT', 4000, 0, 65535),
  /**
   * `1`: every refresh gives a new refresh token, and the former one was good only once. `0`: it
   * gives the same one again. `omit`: the same, without saying so (RFC 6749 section 6).
   */
  rotate: choice('ROTATE', '1', '0', 'omit'),
  accessTtl: number('ACCESS_TTL', 900, 1, TEN_YEARS),
  refreshTtl: number('REFRESH_TTL', 24 * 60 * 60, 1, TEN_YEARS),
  /** `jwt`: access tokens for the resource below (RFC 9068). */
  jwt: choice('ACCESS_FORMAT', 'opaque', 'jwt') === 'jwt',
  /** What signs access tokens. */
  accessAlg: choice('ACCESS_ALG', 'RS256', 'ES256'),
  /** Whether access tokens name their session: `sid`, `auth_time`, `session_exp`. */
  sessionClaims: choice('SESSION_CLAIMS', '0', '1') === '1',
  /** The public keys of the client `pkj`. Without them there is no such client. */
  pkjJwks: json('PKJ_JWKS'),
};

/** Whom access tokens are for that are JWTs. */
export const RESOURCE = 'https://api.everfresh.test';

/** All that a secret may hold (RFC 6749 appendix A.2) and a form or HTTP Basic could garble. */
export const SECRET = 's%3A+/ =&:"~';
