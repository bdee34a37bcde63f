// The environment variables and their allowed values. Another value ends the process.

const TEN_YEARS = 10 * 365 * 24 * 60 * 60;

/** Ends the process with one line that names the variable, its value and the allowed ones. */
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
    return refuse(name, found, 'a JWK set as JSON');
  }
}

export const settings = {
  /** The port on 127.0.0.1. With 0 the system chooses one. */
  port: number('PORT', 4000, 0, 65535),
  /**
   * `1`: every refresh returns a new refresh token, and each token is valid once. `0`: it returns
   * the same token. `omit`: the token stays valid and the response omits it (RFC 6749 section 6).
   */
  rotate: choice('ROTATE', '1', '0', 'omit'),
  /** The lifetime of access tokens, in seconds. */
  accessTtl: number('ACCESS_TTL', 900, 1, TEN_YEARS),
  /** The lifetime of refresh tokens, in seconds. */
  refreshTtl: number('REFRESH_TTL', 24 * 60 * 60, 1, TEN_YEARS),
  /** Whether access tokens are JWTs for `RESOURCE` (RFC 9068). If not, they are opaque. */
  jwt: choice('ACCESS_FORMAT', 'opaque', 'jwt') === 'jwt',
  /** The algorithm that signs JWT access tokens. */
  accessAlg: choice('ACCESS_ALG', 'RS256', 'ES256'),
  /** Whether access tokens carry the session claims `sid`, `auth_time` and `session_exp`. */
  sessionClaims: choice('SESSION_CLAIMS', '0', '1') === '1',
  /** The JWK set of the client `pkj`, with its public keys. Without it there is no such client. */
  pkjJwks: json('PKJ_JWKS'),
};

/** The audience of JWT access tokens. */
export const RESOURCE = 'https://api.everfresh.test';

/**
 * A client secret with characters that RFC 6749 appendix A.2 allows, and that a wrong encoding in a
 * form or in HTTP Basic would change.
 */
export const SECRET = 's%3A+/ =&:"~';
