// The provider: oidc-provider with the tests' clients, keys and lifetimes.

import { generateKeyPairSync, randomUUID } from 'node:crypto';

import Provider from 'oidc-provider';

import { RESOURCE, SECRET, settings } from './settings.mjs';
import { Store } from './store.mjs';

const SCOPE = 'openid offline_access';
const DAYS = 24 * 60 * 60;

/** Generates one signing key per algorithm, as private JWKs. */
export function generateKeys() {
  const kinds = [
    ['RS256', 'rsa', { modulusLength: 2048 }],
    ['ES256', 'ec', { namedCurve: 'P-256' }],
  ];
  return kinds.map(([alg, type, options]) => {
    const { privateKey } = generateKeyPairSync(type, options);
    return { ...privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: `${alg}-${randomUUID()}` };
  });
}

function clients() {
  const client = (id, method, more) => ({
    client_id: id,
    token_endpoint_auth_method: method,
    // A native app may use any port of the loopback address (RFC 8252 section 7.3).
    application_type: 'native',
    redirect_uris: ['http://127.0.0.1/callback'],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    ...more,
  });
  const all = [
    client('web', 'client_secret_basic', { client_secret: SECRET }),
    client('web-post', 'client_secret_post', { client_secret: SECRET }),
    client('spa', 'none'),
  ];
  if (settings.pkjJwks !== undefined) {
    const jwks = settings.pkjJwks;
    const { alg } = jwks.keys[0];
    all.push(client('pkj', 'private_key_jwt', { jwks, token_endpoint_auth_signing_alg: alg }));
  }
  return all;
}

/** Creates a grant of every scope that the clients may request. */
export async function createGrant(provider, clientId, accountId) {
  const grant = new provider.Grant({ accountId, clientId });
  grant.addOIDCScope(SCOPE);
  grant.addResourceScope(RESOURCE, SCOPE);
  await grant.save();
  return grant;
}

/** The session claims of an access token, if the settings ask for them. A grant is a session. */
async function sessionClaims(provider, token) {
  if (!settings.sessionClaims) return undefined;
  const { jti, iat, exp } = await provider.Grant.find(token.grantId);
  return { sid: jti, auth_time: iat, session_exp: exp };
}

/** Creates the provider for an issuer URL, with these signing keys. */
export function createProvider(issuer, keys) {
  const provider = new Provider(issuer, {
    adapter: Store,
    jwks: { keys },
    clients: clients(),
    cookies: { keys: ['for tests on loopback'] },
    findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    loadExistingGrant: (ctx) =>
      createGrant(ctx.oidc.provider, ctx.oidc.client.clientId, ctx.oidc.session.accountId),
    interactions: { url: (ctx, interaction) => `/login/${interaction.uid}` },
    rotateRefreshToken: settings.rotate === '1',
    issueRefreshToken: () => true,
    expiresWithSession: () => false,
    extraTokenClaims: (ctx, token) => sessionClaims(provider, token),
    clientBasedCORS: () => true,
    ttl: {
      AccessToken: settings.accessTtl,
      RefreshToken: settings.refreshTtl,
      AuthorizationCode: 60,
      IdToken: 60 * 60,
      Interaction: 60 * 60,
      Session: 14 * DAYS,
      Grant: Math.max(14 * DAYS, settings.refreshTtl),
    },
    features: {
      devInteractions: { enabled: false },
      introspection: { enabled: true },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: (ctx, client, oneOf) => oneOf ?? (settings.jwt ? RESOURCE : undefined),
        getResourceServerInfo: () => resourceServer(),
        useGrantedResource: () => true,
      },
    },
  });
  if (settings.rotate === 'omit') provider.use(omitRefreshToken);
  provider.on('server_error', (ctx, error) => process.stderr.write(`${error.stack}\n`));
  return provider;
}

/** Omits an unchanged refresh token from a token response (RFC 6749 section 6). */
async function omitRefreshToken(ctx, next) {
  await next();
  if (ctx.oidc?.params?.grant_type === 'refresh_token') delete ctx.body.refresh_token;
}

/** The resource server that JWT access tokens are for (RFC 8707, RFC 9068). */
export function resourceServer() {
  return {
    scope: SCOPE,
    accessTokenFormat: 'jwt',
    jwt: { sign: { alg: settings.accessAlg } },
  };
}

/**
 * Issues the token response that an authorization code would be exchanged for, with a new grant of
 * this user. Returns `undefined` if there is no such client.
 */
export async function issueTokens(provider, clientId, accountId) {
  const client = await provider.Client.find(clientId);
  if (client === undefined) return undefined;
  const grant = await createGrant(provider, clientId, accountId);
  const common = {
    accountId,
    client,
    grantId: grant.jti,
    gty: 'authorization_code',
    scope: SCOPE,
    authTime: Math.floor(Date.now() / 1000),
  };
  const access = new provider.AccessToken(common);
  if (settings.jwt) {
    access.resourceServer = new provider.ResourceServer(RESOURCE, resourceServer());
  }
  const resource = settings.jwt ? RESOURCE : undefined;
  const refresh = new provider.RefreshToken({ ...common, rotations: 0, resource });
  const id = new provider.IdToken({ sub: accountId, auth_time: common.authTime }, { client });
  id.scope = 'openid';
  return {
    access_token: await access.save(),
    refresh_token: await refresh.save(),
    id_token: await id.issue({ use: 'idtoken' }),
    expires_in: access.expiration,
    token_type: 'Bearer',
  };
}
