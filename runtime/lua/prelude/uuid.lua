-- The module `uuid`: making and reading UUIDs of RFC 9562.
--
-- Needs: errors, arguments. Hooks S.now() -> nanoseconds since 1970; S.random(n) -> n bytes, which the
-- runtime records in workflows; S.digest("md5" | "sha1", bytes) -> bytes.
-- v1() v4() v7() v3(namespace, name) v5(namespace, name) -> text in lower case | nil, err
-- parse(u) -> {version, variant, timestamp (seconds since 1970, v1 and v7), node (v1)} | nil, err
-- format(u, "standard" | "simple" | "urn") -> text | nil, err; version(u), variant(u); validate(v) -> boolean
-- A UUID is read as text in the standard form, without dashes, with "urn:uuid:" or in braces.
local S = ...
local byte, format, gsub, lower, match, pack, sub, unpack = string.byte, string.format, string.gsub, string.lower, string.match, string.pack, string.sub, string.unpack
local char = string.char
local tonumber, type = tonumber, type

local EPOCH_1582 = 0x01b21dd213814000 -- 100 ns from 1582-10-15 to 1970-01-01

local function to_hex(bytes)
  return (gsub(bytes, ".", function(c) return format("%02x", byte(c)) end))
end

local function to_text(bytes)
  local hex = to_hex(bytes)
  return format("%s-%s-%s-%s-%s", sub(hex, 1, 8), sub(hex, 9, 12), sub(hex, 13, 16), sub(hex, 17, 20), sub(hex, 21))
end

-- 16 bytes with version and RFC variant put in.
local function stamped(bytes, version)
  local high, low = byte(bytes, 7) & 0x0f | version << 4, byte(bytes, 9) & 0x3f | 0x80
  return to_text(sub(bytes, 1, 6) .. char(high) .. sub(bytes, 8, 8) .. char(low) .. sub(bytes, 10, 16))
end

-- The 16 bytes of a UUID in any of its forms, or nil.
local function read(u)
  if type(u) ~= "string" then
    return nil
  end
  local text = match(lower(u), "^urn:uuid:(.+)$") or match(u, "^{(.+)}$") or u
  local a, b, c, d, e = match(text, "^(%x+)-(%x+)-(%x+)-(%x+)-(%x+)$")
  local hex = text
  if a then
    if #a ~= 8 or #b ~= 4 or #c ~= 4 or #d ~= 4 then
      return nil
    end
    hex = a .. b .. c .. d .. e
  end
  if #hex ~= 32 or not match(hex, "^%x+$") then
    return nil
  end
  return (gsub(hex, "..", function(pair) return char(tonumber(pair, 16)) end))
end

local function wrong(where, u)
  return nil, S.bad_argument("uuid." .. where, "the UUID", 'text such as "f47ac10b-58cc-4372-a567-0e02b2c3d479"', u)
end

local uuid = {}

function uuid.v1()
  local ticks = S.now() // 100 + EPOCH_1582
  local random = S.random(8)
  local node = char(byte(random, 3) | 1) .. sub(random, 4, 8) -- the bit of addresses that no card has
  local bytes = pack(">I4I2I2", ticks & 0xffffffff, ticks >> 32 & 0xffff, ticks >> 48 & 0x0fff)
  return stamped(bytes .. sub(random, 1, 2) .. node, 1)
end

function uuid.v4()
  return stamped(S.random(16), 4)
end

function uuid.v7()
  return stamped(sub(pack(">I8", S.now() // 1000000), 3, 8) .. S.random(10), 7)
end

local function named(where, version, digest)
  uuid[where] = function(namespace, name)
    local space = read(namespace)
    if not space then
      return wrong(where, namespace)
    elseif type(name) ~= "string" or name == "" then
      return nil, S.bad_argument("uuid." .. where, "the name", "text", name)
    end
    return stamped(sub(S.digest(digest, space .. name), 1, 16), version)
  end
end

named("v3", 3, "md5")
named("v5", 5, "sha1")

local function version_of(bytes)
  return byte(bytes, 7) >> 4
end

local function variant_of(bytes)
  local bits = byte(bytes, 9) >> 5
  return bits < 4 and "NCS" or bits < 6 and "RFC4122" or bits == 6 and "Microsoft" or "Future"
end

function uuid.validate(u)
  return read(u) ~= nil
end

function uuid.version(u)
  local bytes = read(u)
  if not bytes then
    return wrong("version", u)
  end
  return version_of(bytes)
end

function uuid.variant(u)
  local bytes = read(u)
  if not bytes then
    return wrong("variant", u)
  end
  return variant_of(bytes)
end

function uuid.parse(u)
  local bytes = read(u)
  if not bytes then
    return wrong("parse", u)
  end
  local info = { version = version_of(bytes), variant = variant_of(bytes) }
  if info.version == 1 then
    local low, middle, high = unpack(">I4I2I2", bytes)
    local ticks = (high & 0x0fff) << 48 | middle << 32 | low
    info.timestamp = (ticks - EPOCH_1582) // 10000000
    info.node = to_hex(sub(bytes, 11))
  elseif info.version == 7 then
    info.timestamp = unpack(">I8", "\0\0" .. sub(bytes, 1, 6)) // 1000
  end
  return info
end

function uuid.format(u, form)
  local bytes = read(u)
  if not bytes then
    return wrong("format", u)
  elseif form == nil or form == "standard" then
    return to_text(bytes)
  elseif form == "simple" then
    return to_hex(bytes)
  elseif form == "urn" then
    return "urn:uuid:" .. to_text(bytes)
  end
  return nil, S.bad_argument("uuid.format", "the form", '"standard", "simple" or "urn"', form)
end

return uuid
