// What only tests may ask: counts, tokens without a browser, an end, new keys.

import { newKeys, tokensFor } from './provider.mjs';
import { Store, grantsOf } from './store.mjs';

const counts = { token: {}, paths: {} };

/** Koa middleware around the provider: counts what is asked, and how the token endpoint answers. */
export async function count(ctx, next) {
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

/** Answers `/control/..`; false if it is for somebody else. */
export async function control(request, response, idp) {
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
      for (let made = 0; made < n; made += 1) {
        tokens.push(await tokensFor(idp.provider, client, sub));
      }
      const known = tokens.every((of) => of !== undefined);
      return known ? answer(200, tokens) : answer(404, { error: `no client ${client}` });
    }
    case 'POST /control/revoke': {
      const { sub } = await body(request);
      const grants = grantsOf(sub);
      for (const id of grants) {
        await new Store('RefreshToken').revokeByGrantId(id);
        await new Store('Grant').destroy(id);
      }
      return answer(200, { revoked: grants.length });
    }
    case 'POST /control/rotate-keys': {
      // The former ones stay published unless told otherwise.
      const { keep = true } = await body(request);
      idp.restart([...newKeys(), ...(keep ? idp.keys : [])]);
      return answer(200, { kids: idp.keys.map((key) => key.kid) });
    }
    default:
      return answer(404, { error: `${request.method} ${pathname}: no such control` });
  }
}

async function body(request) {
  let text = '';
  for await (const part of request) text += part;
  return text === '' ? {} : JSON.parse(text);
}
