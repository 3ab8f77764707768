-- Acquires the lease: the right to fetch what is missing or stale at one key (or one page of it).
-- KEYS[1] key; ARGV: 1 page or '', 2 lease entry, 3 lease ms, 4 the caller's clock in ms, 5 the fence of this caller's first try,
-- or zeros: where only its reply was lost, the new lease takes its place.
-- Gives 0: granted; a number above 0: somebody else fetches, for at most so many ms more;
-- a string: the entry, fresh by the caller's clock.
local key, page, lease, lease_ms = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])
local head = page == '' and redis.call('GETRANGE', key, 0, 34) or redis.call('HGET', key, page) or ''
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease_until = struct.pack('>I8', now + lease_ms)
local fence = lease:sub(20, 27)

local known = #head >= 35 and head:byte(1) == lease:byte(1)
if known then
  local held = head:sub(20, 27)
  local answer = head:sub(2, 2) ~= 'l' and head:byte(3) == lease:byte(3)
  if answer and struct.unpack('>I8', head:sub(12, 19)) > tonumber(ARGV[4]) then
    return page == '' and redis.call('GET', key) or head
  end
  local ends = struct.unpack('>I8', head:sub(28, 35)) -- 0: with its key, as a lookup's lease does
  local left = ends == 0 and redis.call('PTTL', key) or ends - now
  if held ~= '\0\0\0\0\0\0\0\0' and held ~= ARGV[5] and left > 0 then return left end
  if answer then -- stale: it stays readable while the holder fetches
    local leased = fence .. lease_until
    if page == '' then
      redis.call('SETRANGE', key, 19, leased)
    else
      redis.call('HSET', key, page, head:sub(1, 19) .. leased .. head:sub(36))
      if redis.call('PTTL', key) < lease_ms then redis.call('PEXPIRE', key, lease_ms) end
    end
    return 0
  end
end
local entry = lease:sub(1, 27) .. lease_until
if page == '' then
  redis.call('SET', key, entry, 'PX', lease_ms)
else
  redis.call('HSET', key, page, entry)
  if redis.call('PTTL', key) < lease_ms then redis.call('PEXPIRE', key, lease_ms) end
end
return 0
