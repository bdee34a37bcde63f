// The provider's store, in memory. Unlike oidc-provider's own it has no limit of 1,000 entries, and
// its entries survive the replacement of the provider when keys are rotated.

const GRANTABLE = new Set(['AccessToken', 'AuthorizationCode', 'RefreshToken']);

const entries = new Map();
const byGrant = new Map();
const byUid = new Map();

function drop(key) {
  const grantId = entries.get(key)?.payload.grantId;
  entries.delete(key);
  byGrant.get(grantId)?.delete(key);
}

function read(key) {
  const entry = entries.get(key);
  if (entry === undefined || entry.until > Date.now()) return entry?.payload;
  drop(key);
  return undefined;
}

/** The adapter interface of oidc-provider. */
export class Store {
  constructor(model) {
    this.model = model;
  }

  key(id) {
    return `${this.model}:${id}`;
  }

  async upsert(id, payload, expiresIn) {
    const key = this.key(id);
    const until = expiresIn === undefined ? Infinity : Date.now() + expiresIn * 1000;
    entries.set(key, { payload, until });
    if (this.model === 'Session') byUid.set(payload.uid, id);
    if (GRANTABLE.has(this.model) && payload.grantId !== undefined) {
      if (!byGrant.has(payload.grantId)) byGrant.set(payload.grantId, new Set());
      byGrant.get(payload.grantId).add(key);
    }
  }

  async find(id) {
    return read(this.key(id));
  }

  async findByUid(uid) {
    return this.find(byUid.get(uid));
  }

  async findByUserCode() {
    return undefined;
  }

  async consume(id) {
    const payload = read(this.key(id));
    if (payload !== undefined) payload.consumed = Math.floor(Date.now() / 1000);
  }

  async destroy(id) {
    drop(this.key(id));
  }

  async revokeByGrantId(grantId) {
    for (const key of byGrant.get(grantId) ?? []) entries.delete(key);
    byGrant.delete(grantId);
  }
}

/** Returns the ids of a user's grants. */
export function grantIdsOf(sub) {
  return [...entries]
    .filter(([key, { payload }]) => key.startsWith('Grant:') && payload.accountId === sub)
    .map(([key]) => key.slice('Grant:'.length));
}
