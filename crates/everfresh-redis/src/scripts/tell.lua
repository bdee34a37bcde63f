-- Sessions that were ended. ARGV: now, for how long that is kept, ids.
local time = redis.call('TIME')
local before = string.format('%.0f', math.max(time[1] * 1000 - tonumber(ARGV[2]), 0))
for index = 3, #ARGV do
  redis.call('XADD', KEYS[1], 'MINID', '~', before, '*', 'sid', ARGV[index],
    'at', string.format('%.0f', now))
end
return true
