-- Parcels: messages between slots of VMs, and what became of them, on the shortest way.
--
-- They are written here as the other VM reads them, many at a time, and nobody looks at them in between. What is for
-- no VM goes as a command, like everything that is not quite so frequent. Records (runtime/parcels.py reads them too):
--   1 PID topic sender args seq      a message; whoever sent it waits for what became of it
--   2 PID seq                        it was taken
--   3 PID seq error                  it was not
--
-- S.dispatch(slot, seq, dest, topic, args)     send an encoded list of payloads
-- S.receipt(pid, seq, err)                     tell who sent a message what became of it; err: nil when it was taken
-- S.read_parcel(size, records, take, answer)   take(pid, topic, from, args, reply_pid, reply_seq), answer(pid, seq, ok, value)
local S = ...
local byte, pack, unpack = string.byte, string.pack, string.unpack
local send_off, pid_of = S.send_off, S.pid_of

local MESSAGE <const>, TAKEN <const>, REFUSED <const> = 1, 2, 3

function S.dispatch(slot, seq, dest, topic, args)
  local own = pid_of(slot)
  if slot.durable or not send_off(dest, pack("<Bs4s4s4s4I8", MESSAGE, dest, topic, own, args, seq)) then
    S.emit_send(own, seq, dest, topic, args)
  end
end

function S.receipt(pid, seq, err)
  if not err then
    if send_off(pid, pack("<Bs4I8", TAKEN, pid, seq)) then return end
  elseif send_off(pid, pack("<Bs4I8s4", REFUSED, pid, seq, S.encode(err))) then
    return
  end
  S.emit_answer(pid, seq, not err, err or true)
end

function S.read_parcel(size, records, take, answer)
  local at = 1
  for _ = 1, size do
    local kind, pid, topic, from, args, seq = byte(records, at), nil, nil, nil, nil, nil
    if kind == MESSAGE then
      pid, topic, from, args, seq, at = unpack("<s4s4s4s4I8", records, at + 1)
      take(pid, topic, from, args, from, seq)
    elseif kind == TAKEN then
      pid, seq, at = unpack("<s4I8", records, at + 1)
      answer(pid, seq, true, true)
    else
      pid, seq, args, at = unpack("<s4I8s4", records, at + 1)
      answer(pid, seq, false, S.decode(args))
    end
  end
end
