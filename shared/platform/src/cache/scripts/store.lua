-- Stores what a lease's holder fetched, if its lease still stands: a renewal, an invalidation, an eviction or
-- another holder since then has taken the fence away, and with it the right to store.
-- KEYS[1] key; ARGV: 1 page or '', 2 fence, 3 entry or '' (releases the lease), 4 ms to keep,
-- 5 most pages of a key.
-- Gives 1: the lease stood; 0: it did not, and nothing was changed.
local key, page, fence, entry = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local head = page == '' and redis.call('GETRANGE', key, 0, 34) or redis.call('HGET', key, page) or ''
if head:sub(20, 27) ~= fence then return 0 end

if entry == '' then
  if head:sub(2, 2) ~= 'l' then -- a stale value stays, unleased
    local free = string.rep('\0', 16)
    if page == '' then
      redis.call('SETRANGE', key, 19, free)
    else
      redis.call('HSET', key, page, head:sub(1, 19) .. free .. head:sub(36))
    end
  elseif page == '' then
    redis.call('DEL', key)
  else
    redis.call('HDEL', key, page)
  end
  return 1
end

-- Versions are compared as two halves: Lua's numbers are exact to 53 bits only.
local function older(a, b)
  local a_high, a_low = struct.unpack('>I4I4', a:sub(4, 11))
  local b_high, b_low = struct.unpack('>I4I4', b:sub(4, 11))
  return a_high < b_high or (a_high == b_high and a_low < b_low)
end
if head:sub(1, 3) == entry:sub(1, 3) and older(entry, head) then return 0 end

if page == '' then
  redis.call('SET', key, entry, 'PX', ARGV[4])
else
  if redis.call('HLEN', key) > tonumber(ARGV[5]) then redis.call('DEL', key) end
  redis.call('HSET', key, page, entry)
  redis.call('PEXPIRE', key, ARGV[4])
end
return 1
