-- The module `base64`: standard alphabet, padded, in one line; line ends are passed over when decoding.
--
-- encode(data) -> text | nil, err; decode(text) -> data | nil, err. An empty text is itself.
local S = ...
local type = type

local function face(where, f)
  return function(text)
    if type(text) ~= "string" then return nil, S.bad_argument(where, "the argument", "a text", text) end
    return S.attempt(where, f, text)
  end
end

S.modules.base64 = {
  encode = face("base64.encode", S.base64_encode),
  decode = face("base64.decode", S.base64_decode),
}
