-- Commands on their way out: each is one msgpack array [op, pid, …], see runtime/commands.py.
local S = ...
local int, bin = S.enc_int, S.enc_bin
local header, encode = S.enc_arr_header, S.encode
local str_header, long_header = S.str_header, S.long_header
local concat = table.concat
local byte, find, sub = string.byte, string.find, string.sub
local NIL <const> = "\xc0"

local out, count = {}, 0
local close_parcels
-- Parcels that are being filled: a list of {prefix, n, record …}, and by their prefix. A command that comes behind
-- closes them, so that the order of all that leaves is kept.
local open, parcels = 0, {}
local SERIAL <const> = 11 -- bytes of a PID behind the prefix of its VM

local function add(command)
  if open > 0 then close_parcels() end
  out[count + 1] = command
  count = count + 1
end

-- All commands since the last call, as one msgpack array.
function S.take_commands()
  if open > 0 then close_parcels() end
  if count == 0 then return "\x90" end
  local bytes = header(count) .. concat(out, "", 1, count)
  out, count = {}, 0
  return bytes
end

-- A text is always written as one, whatever its bytes: Python keeps those that are not UTF-8.
local function str(text)
  local n = #text
  return (str_header[n] or long_header(n, 0xda, 0xdb)) .. text
end

local function optional_bin(bytes) return bytes and bin(bytes) or NIL end
local function optional_str(text) return text and str(text) or NIL end

local H = {}
for n = 0, 12 do H[n] = header(n) end
local O = {}
for op in ("parcel call cancel_call timer cancel_timer result send spawn control name ask tell value attributes checked_attributes log signal answer ended place dead_letter upgrade"):gmatch("%S+") do
  O[op] = str(op)
end

function close_parcels()
  for i = 1, open do
    local parcel = parcels[i]
    local prefix, n = parcel[1], parcel[2]
    parcels[i], parcels[prefix] = nil, nil
    out[count + 1] = H[4] .. O.parcel .. str(prefix) .. int(n) .. bin(concat(parcel, "", 3, n + 2))
    count = count + 1
  end
  open = 0
end

-- Put a record into the parcel for the VM of a PID; false where it is the PID of no VM. See parcel.lua.
function S.send_off(pid, record)
  if not S.parcels or byte(pid) ~= 123 or not find(pid, "|0x", 3, true) then return false end
  local prefix = sub(pid, 1, -1 - SERIAL)
  local parcel = parcels[prefix]
  if not parcel then
    parcel = { prefix, 0 }
    open = open + 1
    parcels[open], parcels[prefix] = parcel, parcel
  end
  local n = parcel[2] + 1
  parcel[2], parcel[n + 2] = n, record
  return true
end

local CALL <const> = H[7] .. O.call
local caller, caller_bytes -- PID of the last call: a replay makes many of one run

function S.emit_call(pid, seq, target, args, options, context)
  if pid ~= caller then caller, caller_bytes = pid, str(pid) end
  add(CALL .. caller_bytes .. int(seq) .. str(target) .. bin(args) .. optional_bin(options) .. optional_bin(context))
end

function S.emit_result(number, ok, value)
  add(H[4] .. O.result .. int(number) .. encode(ok) .. bin(encode(value)))
end

function S.emit_cancel_call(pid, seq) add(H[3] .. O.cancel_call .. str(pid) .. int(seq)) end

function S.emit_timer(pid, seq, ns) add(H[4] .. O.timer .. str(pid) .. int(seq) .. int(ns)) end

function S.emit_cancel_timer(pid, seq) add(H[3] .. O.cancel_timer .. str(pid) .. int(seq)) end

function S.emit_send(pid, seq, dest, topic, args)
  add(H[6] .. O.send .. str(pid) .. int(seq) .. str(dest) .. str(topic) .. bin(args))
end

-- messages: list of {topic, args}
function S.emit_spawn(pid, seq, entry, host, args, flags, name, options, context, messages)
  local list = { header(messages and #messages or 0) }
  for i = 1, messages and #messages or 0 do
    list[i + 1] = H[2] .. str(messages[i][1]) .. bin(messages[i][2])
  end
  add(
    H[11] .. O.spawn .. str(pid) .. int(seq) .. str(entry) .. str(host) .. bin(args) .. int(flags)
      .. optional_str(name) .. optional_bin(options) .. optional_bin(context) .. concat(list)
  )
end

function S.emit_control(pid, seq, verb, dest, reason)
  add(H[6] .. O.control .. str(pid) .. int(seq) .. str(verb) .. str(dest) .. optional_str(reason))
end

function S.emit_name(pid, seq, verb, name, target)
  add(H[6] .. O.name .. str(pid) .. int(seq) .. str(verb) .. str(name) .. optional_str(target))
end

function S.emit_ask(pid, seq, module, verb, args)
  add(H[6] .. O.ask .. str(pid) .. int(seq) .. str(module) .. str(verb) .. bin(args))
end

function S.emit_tell(pid, module, verb, args)
  add(H[5] .. O.tell .. str(pid) .. str(module) .. str(verb) .. bin(args))
end

-- A command of n items and messages: nil, or a list of {topic, args, from}.
local function add_with_messages(n, command, messages)
  if not messages then return add(H[n + 1] .. command .. H[0]) end
  local list = { H[n + 1] .. command, header(#messages) }
  for i = 1, #messages do
    local message = messages[i]
    list[i + 2] = H[3] .. str(message[1]) .. bin(message[2]) .. str(message[3])
  end
  add(concat(list))
end

function S.emit_upgrade(pid, entry, args, messages)
  add_with_messages(4, O.upgrade .. str(pid) .. str(entry) .. bin(args), messages)
end

function S.emit_value(pid, kind, value)
  add(H[4] .. O.value .. str(pid) .. str(kind) .. bin(encode(value)))
end

function S.emit_attributes(pid, search, memo)
  add(H[4] .. O.attributes .. str(pid) .. optional_bin(search and encode(search)) .. optional_bin(memo and encode(memo)))
end

function S.emit_checked_attributes(pid, seq, search, memo)
  add(H[5] .. O.checked_attributes .. str(pid) .. int(seq) .. bin(encode(search)) .. optional_bin(memo and encode(memo)))
end

function S.emit_log(pid, entry, level, message, fields)
  add(H[6] .. O.log .. str(pid) .. str(entry) .. str(level) .. str(message) .. optional_bin(fields and encode(fields)))
end

function S.emit_event(pid, event) add(H[3] .. O.signal .. str(pid) .. bin(encode(event))) end

function S.emit_answer(pid, seq, ok, value)
  add(H[5] .. O.answer .. str(pid) .. int(seq) .. encode(ok) .. bin(encode(value)))
end

function S.emit_ended(pid, ok, value, entry, messages)
  add_with_messages(5, O.ended .. str(pid) .. encode(ok) .. bin(encode(value)) .. str(entry), messages)
end

function S.emit_dead_letter(pid, topic, from) add(H[4] .. O.dead_letter .. str(pid) .. str(topic) .. str(from)) end

function S.emit_place(pid, source) add(H[3] .. O.place .. str(pid) .. str(source)) end
