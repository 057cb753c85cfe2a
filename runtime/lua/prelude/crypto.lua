-- The module `crypto`: random values, authenticated encryption, HMAC, keys from passwords. JWT is in jwt.lua.
--
-- random.bytes(n), random.string(n, charset?), random.uuid() -> text | nil, err
-- hmac.sha256(key, data), hmac.sha512(key, data) -> hexadecimal text | nil, err
-- encrypt.aes(data, key, aad?), encrypt.chacha20(data, key, aad?) -> nonce .. ciphertext .. tag | nil, err
-- decrypt.aes(data, key, aad?), decrypt.chacha20(data, key, aad?) -> data | nil, err INVALID
-- pbkdf2(password, salt, iterations, length, "sha256" | "sha512") -> bytes | nil, err
-- constant_time_compare(a, b) -> boolean | nil, err
-- In a workflow what is random is recorded, nonces too, so that a replay makes the same.
local S = ...
local byte, char, concat = string.byte, string.char, table.concat
local ipairs, math_type, type = ipairs, math.type, type

local MAX_RANDOM <const> = 1024 * 1024
local MAX_KEY <const> = 1024
local NONCE <const> = 12 -- bytes, for both ciphers

-- What is wrong with the first of the named texts that is none, or empty; nil when all are there.
local function wrong_texts(where, names, ...)
  local values = { ... }
  for i, name in ipairs(names) do
    if type(values[i]) ~= "string" or values[i] == "" then
      return S.bad_argument(where, name, "a text that is not empty", values[i])
    end
  end
end

local function wrong_count(where, name, value, most)
  if math_type(value) ~= "integer" or value < 1 or value > most then
    return S.bad_argument(where, name, "an integer of 1 to " .. most, value)
  end
end

-- random ------------------------------------------------------------------------------------------

local ALPHANUMERIC = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

local random = {}

function random.bytes(count)
  local err = wrong_count("crypto.random.bytes", "the count", count, MAX_RANDOM)
  if err then return nil, err end
  return S.attempt("crypto.random.bytes", S.random, count)
end

-- Characters of `charset`, each as likely as the others: bytes beyond its largest multiple are not used.
local function draw(count, charset)
  local size, out, n = #charset, {}, 0
  local limit = 256 - 256 % size
  while n < count do
    local bytes = S.random(count - n)
    S.charge(4 * #bytes)
    for i = 1, #bytes do
      local value = byte(bytes, i)
      if value < limit then
        n = n + 1
        out[n] = char(byte(charset, value % size + 1))
      end
    end
  end
  return concat(out)
end

function random.string(count, charset)
  local where = "crypto.random.string"
  if charset == nil then charset = ALPHANUMERIC end
  local err = wrong_count(where, "the length", count, MAX_RANDOM) or wrong_texts(where, { "the charset" }, charset)
  if not err and #charset > 256 then err = S.bad_argument(where, "the charset", "at most 256 bytes", charset) end
  if err then return nil, err end
  return S.attempt(where, draw, count, charset)
end

function random.uuid() return S.attempt("crypto.random.uuid", S.modules.uuid.v4) end

-- Encryption --------------------------------------------------------------------------------------

local encrypt, decrypt = {}, {}

local function wrong_aad(where, aad)
  if aad ~= nil and type(aad) ~= "string" then return S.bad_argument(where, "aad", "a text or nil", aad) end
end

local function seal(cipher, key, data, aad) return S.encrypt(cipher, key, S.random(NONCE), data, aad) end

for _, cipher in ipairs({ "aes", "chacha20" }) do
  local sealing, opening = "crypto.encrypt." .. cipher, "crypto.decrypt." .. cipher

  encrypt[cipher] = function(data, key, aad)
    local err = wrong_texts(sealing, { "data", "key" }, data, key) or wrong_aad(sealing, aad)
    if err then return nil, err end
    return S.attempt(sealing, seal, cipher, key, data, aad)
  end

  decrypt[cipher] = function(data, key, aad)
    local err = wrong_texts(opening, { "data", "key" }, data, key) or wrong_aad(opening, aad)
    if err then return nil, err end
    return S.attempt(opening, S.decrypt, cipher, key, data, aad)
  end
end

-- Keys --------------------------------------------------------------------------------------------

local hmac = {}

for _, name in ipairs({ "sha256", "sha512" }) do
  local where = "crypto.hmac." .. name
  hmac[name] = function(key, data)
    local err = wrong_texts(where, { "key" }, key)
    if not err and type(data) ~= "string" then err = S.bad_argument(where, "data", "a text", data) end
    if err then return nil, err end
    local digest
    digest, err = S.attempt(where, S.keyed_digest, name, key, data)
    if not digest then return nil, err end
    return S.to_hex(digest), nil
  end
end

local function pbkdf2(password, salt, iterations, length, name)
  local where = "crypto.pbkdf2"
  if name == nil then name = "sha256" end
  local err = wrong_texts(where, { "password", "salt" }, password, salt)
    or wrong_count(where, "iterations", iterations, 10000000)
    or wrong_count(where, "the length of the key", length, MAX_KEY)
  if not err and name ~= "sha256" and name ~= "sha512" then
    err = S.bad_argument(where, "the hash", '"sha256" or "sha512"', name)
  end
  if err then return nil, err end
  return S.attempt(where, S.pbkdf2, name, password, salt, iterations, length)
end

local function constant_time_compare(a, b)
  local where = "crypto.constant_time_compare"
  if type(a) ~= "string" then return nil, S.bad_argument(where, "the first argument", "a text", a) end
  if type(b) ~= "string" then return nil, S.bad_argument(where, "the second argument", "a text", b) end
  return S.attempt(where, S.texts_equal, a, b)
end

S.modules.crypto = {
  random = random, encrypt = encrypt, decrypt = decrypt, hmac = hmac, pbkdf2 = pbkdf2,
  constant_time_compare = constant_time_compare,
}
