-- Counts what happens under one name within a window: the absences of one scope that were remembered, the requests of one caller.
-- KEYS[1] the name's counter; ARGV: 1 window ms.
-- Gives the count, this one included.
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return count
