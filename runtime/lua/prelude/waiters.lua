-- Queues of what waits on a channel. An entry is {task, value, select}: the value that a sender wants to send, and
-- the record that the entries of one select share, or false. Entries of a select that is over elsewhere are
-- passed over; drop_waiters keeps them from piling up.
--
-- S.new_waiters() -> queue      S.push_waiter(queue, entry)
-- S.pop_waiter(queue) -> entry that still waits or nil, whether the queue is empty now
-- S.drop_waiters(queue) -> whether the queue is empty now; called when an entry of it is over
local S = ...

function S.new_waiters() return { first = 1, last = 0, over = 0 } end

local function is_over(entry)
  local select = entry[3]
  return select and select.over
end

local function push(queue, entry)
  local last = queue.last + 1
  queue.last = last
  queue[last] = entry
end
S.push_waiter = push

function S.pop_waiter(queue)
  local first, last = queue.first, queue.last
  while first <= last do
    local entry = queue[first]
    queue[first] = nil
    first = first + 1
    queue.first = first
    if not is_over(entry) then return entry, first > last end
    queue.over = queue.over - 1
  end
  return nil, true
end

-- Entries that are over go when they are at the end, or more than the others. `over` may count some that pop has
-- taken before their select told: then there is a sweep too many.
function S.drop_waiters(queue)
  local over, first, last = queue.over + 1, queue.first, queue.last
  while last >= first and is_over(queue[last]) do
    queue[last] = nil
    last, over = last - 1, over - 1
  end
  if 2 * over > last - first + 1 then
    local kept = first - 1
    for i = first, last do
      local entry = queue[i]
      queue[i] = nil
      if not is_over(entry) then
        kept = kept + 1
        queue[kept] = entry
      end
    end
    last, over = kept, 0
  end
  queue.last, queue.over = last, over
  return last < first
end
