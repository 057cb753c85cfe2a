-- The part `jwt` of the module `crypto`: JSON Web Tokens.
--
-- encode(claims, key, algorithm = "HS256") -> token | nil, err. claims._header is added to the header.
-- verify(token, key, algorithm = "HS256", require_exp = true) -> claims | nil, err INVALID
--     The key is a secret for HS256 HS384 HS512; PEM for RS256 RS384 RS512 EdDSA: private to encode, public to
--     verify. exp and nbf are compared with time.now(), in a workflow the recorded one. Claims are what
--     the caller gives: none is added.
local S = ...
local type = type

local function wrong(where, key, algorithm)
  if type(key) ~= "string" or key == "" then return S.bad_argument(where, "key", "a text that is not empty", key) end
  if type(algorithm) ~= "string" then return S.bad_argument(where, "algorithm", 'a text such as "HS256"', algorithm) end
end

local function encode(claims, key, algorithm)
  if algorithm == nil then algorithm = "HS256" end
  local where = "crypto.jwt.encode"
  local err = wrong(where, key, algorithm)
  if not err and (type(claims) ~= "table" or S.own_name(claims)) then
    err = S.bad_argument(where, "claims", "a table", claims)
  end
  if err then return nil, err end
  local bytes
  bytes, err = S.attempt(where, S.encode, claims)
  if not bytes then return nil, err end
  return S.attempt(where, S.jwt_sign, bytes, key, algorithm)
end

local function verify(token, key, algorithm, require_exp)
  if algorithm == nil then algorithm = "HS256" end
  if require_exp == nil then require_exp = true end
  local where = "crypto.jwt.verify"
  local err = wrong(where, key, algorithm)
  if type(token) ~= "string" or token == "" then
    err = S.bad_argument(where, "token", "a text that is not empty", token)
  elseif type(require_exp) ~= "boolean" then
    err = S.bad_argument(where, "require_exp", "true or false", require_exp)
  end
  if err then return nil, err end
  local bytes
  bytes, err = S.attempt(where, S.jwt_verify, token, key, algorithm, S.now() // 1000000000, require_exp)
  if not bytes then return nil, err end
  return S.decode(bytes), nil
end

S.modules.crypto.jwt = { encode = encode, verify = verify }
