// Endpoints for tests alone: request counts, tokens without a browser, revocation, new keys.

import { generateKeys, issueTokens } from './provider.mjs';
import { Store, grantIdsOf } from './store.mjs';

const counts = { token: {}, paths: {} };

/**
 * Koa middleware around the provider. Counts requests by path, and the token endpoint's responses
 * by grant type, outcome and age of the rotated refresh token in seconds.
 */
export async function countRequest(ctx, next) {
  counts.paths[ctx.path] = (counts.paths[ctx.path] ?? 0) + 1;
  try {
    await next();
  } finally {
    if (ctx.path === '/token') {
      const grant = ctx.oidc?.params?.grant_type ?? 'unknown';
      const outcome = ctx.status === 200 ? 'ok' : (ctx.body?.error ?? String(ctx.status));
      counts.token[grant] ??= { calls: 0, outcomes: {}, ages: {} };
      const { outcomes, ages } = counts.token[grant];
      counts.token[grant].calls += 1;
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
      const rotated = ctx.oidc?.entities.RotatedRefreshToken;
      if (rotated !== undefined) {
        const age = Math.floor(Date.now() / 1000) - rotated.iat;
        ages[age] = (ages[age] ?? 0) + 1;
      }
    }
  }
}

/** Answers a request for `/control/..`. Returns false for any other path. */
export async function handleControl(request, response, idp) {
  const { pathname } = new URL(request.url, idp.issuer);
  if (!pathname.startsWith('/control/')) return false;
  const answer = (status, body) => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(body));
    return true;
  };
  switch (`${request.method} ${pathname}`) {
    case 'GET /control/counts':
      return answer(200, counts);
    case 'POST /control/tokens': {
      const { client, sub, n = 1 } = await body(request);
      const tokens = [];
      for (let issued = 0; issued < n; issued += 1) {
        tokens.push(await issueTokens(idp.provider, client, sub));
      }
      const known = tokens.every((response) => response !== undefined);
      return known ? answer(200, tokens) : answer(404, { error: noClient(client) });
    }
    case 'POST /control/revoke': {
      const { sub } = await body(request);
      const grants = grantIdsOf(sub);
      for (const id of grants) {
        await new Store('RefreshToken').revokeByGrantId(id);
        await new Store('Grant').destroy(id);
      }
      return answer(200, { revoked: grants.length });
    }
    case 'POST /control/rotate-keys': {
      // The previous keys stay published unless `keep` is false.
      const { keep = true } = await body(request);
      idp.restart([...generateKeys(), ...(keep ? idp.keys : [])]);
      return answer(200, { kids: idp.keys.map((key) => key.kid) });
    }
    default:
      return answer(404, { error: `no ${request.method} ${pathname}: see control.mjs for a list` });
  }
}

/** The client `pkj` exists only if the environment has its keys. */
const noClient = (client) =>
  `no client ${client}: use web, web-post or spa, or pkj with PKJ_JWKS in the environment`;

/** Reads a JSON body. An empty one is an empty object. */
async function body(request) {
  let text = '';
  for await (const part of request) text += part;
  return text === '' ? {} : JSON.parse(text);
}
