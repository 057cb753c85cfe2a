-- The module `hash`: digests, in hexadecimal or, with `raw`, as bytes; and numbers that are quick to make.
--
-- md5 sha1 sha256 sha512 (data, raw = false) -> text | nil, err
-- hmac_md5 hmac_sha1 hmac_sha256 hmac_sha512 (data, secret, raw = false) -> text | nil, err
-- fnv32(data) fnv64(data) -> integer | nil, err      FNV-1a; fnv64 uses all 64 bits, so it may be negative
-- S.to_hex(bytes) -> text
local S = ...
local byte, format, gsub = string.byte, string.format, string.gsub
local ipairs, type = ipairs, type

local HEX = {}
for code = 0, 255 do HEX[string.char(code)] = format("%02x", code) end

function S.to_hex(bytes) return (gsub(bytes, ".", HEX)) end

local hash = {}

local function wrong_text(where, argument, value)
  if type(value) ~= "string" then return S.bad_argument(where, argument, "a text", value) end
end

local function wrong_raw(where, raw)
  if raw ~= nil and type(raw) ~= "boolean" then return S.bad_argument(where, "raw", "true or false", raw) end
end

local function shown(raw, digest, err)
  if not digest then return nil, err end
  return raw and digest or S.to_hex(digest), nil
end

for _, name in ipairs({ "md5", "sha1", "sha256", "sha512" }) do
  local plain, keyed = "hash." .. name, "hash.hmac_" .. name

  hash[name] = function(data, raw)
    local err = wrong_text(plain, "data", data) or wrong_raw(plain, raw)
    if err then return nil, err end
    return shown(raw, S.attempt(plain, S.digest, name, data))
  end

  hash["hmac_" .. name] = function(data, secret, raw)
    local err = wrong_text(keyed, "data", data) or wrong_text(keyed, "secret", secret) or wrong_raw(keyed, raw)
    if not err and secret == "" then err = S.bad_argument(keyed, "secret", "a text that is not empty", secret) end
    if err then return nil, err end
    return shown(raw, S.attempt(keyed, S.keyed_digest, name, secret, data))
  end
end

-- http://www.isthe.com/chongo/tech/comp/fnv: offset basis, prime and width.
local function fnv(where, basis, prime, mask)
  return function(data)
    local err = wrong_text(where, "data", data)
    if err then return nil, err end
    local value = basis
    for i = 1, #data do value = ((value ~ byte(data, i)) * prime) & mask end
    return value
  end
end

hash.fnv32 = fnv("hash.fnv32", 0x811c9dc5, 0x01000193, 0xffffffff)
hash.fnv64 = fnv("hash.fnv64", 0xcbf29ce484222325, 0x100000001b3, -1)

S.modules.hash = hash
