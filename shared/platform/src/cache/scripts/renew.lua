-- After a committed write: puts the new value in the place of an older one, and takes every lease away.
-- Where there is no older value nothing is stored: this renewal may be late, and a value put into an empty
-- place by a late one would stand although a newer one was acknowledged and evicted meanwhile.
-- KEYS[1] key; ARGV: 1 page or '', 2 entry, 3 ms to keep.
-- Gives 2: what is there is as new; 1: renewed; 0: nothing to renew.
local key, page, entry = KEYS[1], ARGV[1], ARGV[2]
local head = page == '' and redis.call('GETRANGE', key, 0, 34) or redis.call('HGET', key, page) or ''
if #head == 0 then return 0 end

if #head >= 35 and head:sub(1, 2) == entry:sub(1, 2) then
  -- Versions are compared as two halves: Lua's numbers are exact to 53 bits only.
  local old_high, old_low = struct.unpack('>I4I4', head:sub(4, 11))
  local new_high, new_low = struct.unpack('>I4I4', entry:sub(4, 11))
  if old_high > new_high or (old_high == new_high and old_low >= new_low) then return 2 end
  if page == '' then
    redis.call('SET', key, entry, 'PX', ARGV[3])
  else
    redis.call('HSET', key, page, entry)
  end
  return 1
end
if page == '' then redis.call('DEL', key) else redis.call('HDEL', key, page) end
return 0
