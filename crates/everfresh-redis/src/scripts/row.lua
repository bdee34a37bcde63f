-- What all scripts know of a session's value. `row.rs` has the layout; offsets count from 0.
local HEAD, UPSTREAM, NONE = 73, 40, 4294967295

-- The server's time in milliseconds, or a test's time.
local function read_clock()
  if ARGV[1] ~= '' then return tonumber(ARGV[1]) end
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local now = read_clock()

local function milliseconds(time)
  return struct.pack('>I6', time)
end

-- What changes of a session that is not over. Read in one go: this is most of what a script costs.
local function live()
  local bytes = redis.call('GETRANGE', KEYS[1], 0, HEAD - 1)
  if #bytes < HEAD then return nil end
  local generation, confirmed, rotated_at, idle_expires, absolute_expires, idle_lifetime =
    struct.unpack('>c8xxxxBI6I6I6I6', bytes, 2)
  if idle_expires <= now then return nil end
  return {
    generation = generation, confirmed = confirmed, rotated_at = rotated_at,
    idle_expires = idle_expires, absolute_expires = absolute_expires,
    idle_lifetime = idle_lifetime, bytes = bytes,
  }
end

-- How long its claims and its sealed tokens are.
local function lengths(row)
  return struct.unpack('>I4I4', row.bytes, 62)
end

-- Where the session ends if it is used now.
local function idle_end(row)
  return math.min(now + row.idle_lifetime, row.absolute_expires)
end

-- The key goes with the session, by itself: at that time, or by a test's clock after as long.
local function expire_at(time)
  if ARGV[1] == '' then
    redis.call('PEXPIREAT', KEYS[1], time)
  else
    redis.call('PEXPIRE', KEYS[1], math.max(time - now, 1))
  end
end

-- The upstream tokens of a live session that has some.
local function upstream_of(row)
  if not row then return nil end
  local _, sealed = lengths(row)
  if sealed == NONE then return nil end
  local bytes = redis.call('GETRANGE', KEYS[1], HEAD, HEAD + UPSTREAM - 1)
  local seq, tries, reservation = struct.unpack('>c8I4c16', bytes)
  return { seq = seq, tries = tries, reservation = reservation }
end

-- The subject of the session whose head this is.
local function subject_of(bytes)
  local claims, sealed, length = struct.unpack('>I4I4I4', bytes, 62)
  local before = HEAD + claims
  if sealed ~= NONE then before = before + UPSTREAM + sealed end
  return redis.call('GETRANGE', KEYS[1], before, before + length - 1)
end
