-- What can run here: definitions of entries, their compiled sources, and the globals of their code.
--
-- A source is compiled once per VM into a function of its globals that returns a fresh main chunk, so that
-- module-level locals live as long as one process or call. With a method, the chunk is run and the method
-- is looked up in the table that it returns, then in its globals; without one the chunk itself is
-- called with the arguments.
--
-- What runs keeps the code it began with: a compiled entry knows the libraries that it reaches, and a change of
-- definitions drops those compiled entries from the cache which it concerns, for what starts from then on.
--
-- S.redefine(changed, gone)     changed: {[id] = definition}; gone: list of ids
-- S.proto(id) -> the compiled definition of an entry, or nil, err      S.inline_proto(id)      S.kind_of(id)
local S = ...
local pairs, type, rawget, rawset, setmetatable = pairs, type, rawget, rawset, setmetatable
local error, tostring, sort, concat = error, tostring, table.sort, table.concat
local sub = string.sub

local definitions = {} -- [id] = {kind, source, chunk, method, modules = {}, imports = {alias = id}, inline}
local protos = {} -- [id] = compiled definition
local always = { process = true, channel = true, errors = true, payload = true }

local libraries = setmetatable({}, { __mode = "k" }) -- [definition] = {[durable] = compiled library}

-- Which of the ids `touched` a compiled entry runs code of, sorted; nil for none.
local function concerned(proto, touched)
  local found
  for id in pairs(touched) do
    if id == proto.id or proto.reached[id] then
      found = found or {}
      found[#found + 1] = id
    end
  end
  if found then sort(found) end
  return found
end

function S.redefine(changed, gone)
  local touched = {}
  for id, definition in pairs(changed) do
    definitions[id], touched[id] = definition, true
  end
  for i = 1, #gone do
    definitions[gone[i]], touched[gone[i]] = nil, true
  end
  for id, proto in pairs(protos) do
    if concerned(proto, touched) then protos[id] = nil end
  end
  for _, slot in pairs(S.slots) do
    local sources = slot.upgradable and not slot.durable and definitions[slot.proto.id] and concerned(slot.proto, touched)
    if sources then
      S.deliver_event(slot, { kind = "pid.outdated", from = slot.pid, at = S.now_of(slot), sources = sources })
    end
  end
end

function S.kind_of(id)
  local definition = definitions[id]
  return definition and definition.kind
end

-- Compile to a function (globals) -> main chunk, or nil and the compiler's message.
local function compile(source, chunk)
  if sub(source, 1, 1) == "#" then source = "--" .. source end
  return S.compile(source, "@" .. chunk, true)
end

local import

local function missing_module(proto, name)
  local listed = {}
  for key in pairs(proto.allowed) do listed[#listed + 1] = key end
  sort(listed)
  return error(S.new_error(
    "NotFound",
    'module "' .. tostring(name) .. '" is not listed in ' .. proto.id .. ": add it to modules: (or a library to imports:) of that entry"
      .. (#listed > 0 and "; listed are " .. concat(listed, ", ") or "")
  ), 0)
end

-- The value of a global that is not set in `env`.
local function resolve(proto, env, key)
  local value = proto.globals[key]
  if value ~= nil then return value end
  local library = proto.libraries[key]
  if library then
    local proxy = S.proxy(library)
    rawset(env, key, proxy)
    return proxy
  end
  if key == "require" then return proto.require end
  if key == "load" then return S.loader(env) end
  if key == "_G" then return env end
  local id = proto.allowed[key]
  if not id and not always[key] then return nil end
  if type(id) == "string" then
    value = import(id, proto.durable)
  else
    local module = S.modules[key]
    value = module and S.proxy(module)
  end
  rawset(env, key, value)
  return value
end

-- The libraries that an entry imports, and those they do: {[id] = definition}.
local function reach(definition)
  local found, queue, n = {}, { definition }, 1
  while n > 0 do
    local imports = queue[n].imports
    n = n - 1
    for _, id in pairs(imports) do
      if definitions[id] and not found[id] then
        n = n + 1
        found[id], queue[n] = definitions[id], definitions[id]
      end
    end
  end
  return found
end

local function prepare(id, definition, durable)
  local body, err = compile(definition.source, definition.chunk)
  if not body then
    return nil, S.new_error("Invalid", id .. " does not compile: " .. err)
  end
  local proto = {
    id = id,
    body = body,
    durable = durable,
    globals = durable and S.durable_globals or S.globals,
    libraries = durable and S.durable_libraries or S.libraries,
    allowed = {},
    reached = reach(definition),
  }
  for _, name in pairs(definition.modules) do proto.allowed[name] = true end
  for alias, target in pairs(definition.imports) do proto.allowed[alias] = target end
  local env_mt = {
    __metatable = false,
    __index = function(env, key) return resolve(proto, env, key) end,
  }
  function proto.new_env() return setmetatable({}, env_mt) end
  function proto.require(name)
    local slot = S.current
    local env = proto.library and slot.imported[id].env or slot.env
    if type(name) == "string" and (proto.allowed[name] or always[name]) then
      local value = env[name]
      if value ~= nil then return value end
    end
    return missing_module(proto, name)
  end
  return proto
end

-- Run a library once per slot; returns what it exports.
function import(id, durable)
  local slot = S.current
  local imported = slot.imported
  if not imported then
    imported = {}
    slot.imported = imported
  end
  local library = imported[id]
  if library then return library.exports end
  local definition = slot.proto.reached[id]
  if not definition then
    return error(S.new_error("NotFound", "library " .. id .. " does not exist"), 0)
  end
  local compiled = libraries[definition]
  if not compiled then
    compiled = {}
    libraries[definition] = compiled
  end
  local proto, err = compiled[durable], nil
  if not proto then
    proto, err = prepare(id, definition, durable)
    if not proto then return error(err, 0) end
    proto.library = true
    compiled[durable] = proto
  end
  library = { env = proto.new_env() }
  imported[id] = library
  local exports = proto.body(library.env)()
  if exports == nil then exports = library.env end
  library.exports = exports
  return exports
end

-- The function that `method` names, or nil.
local function method_of(exports, env, method)
  if type(exports) == "table" and type(exports[method]) == "function" then return exports[method] end
  local global = rawget(env, method)
  if type(global) == "function" then return global end
  if type(exports) == "function" then return exports end
  return nil
end

-- The compiled definition of an entry, or nil, err.
function S.proto(id)
  local proto = protos[id]
  if proto then return proto end
  local definition = definitions[id]
  if not definition then
    return nil, S.new_error("NotFound", "entry " .. tostring(id) .. " does not exist or cannot run here")
  end
  local err
  proto, err = prepare(id, definition, definition.kind == "workflow.lua")
  if not proto then return nil, err end
  local method, body, new_env = definition.method, proto.body, proto.new_env
  -- The main of a slot: a fresh chunk, or its method.
  function proto.enter()
    local env = new_env()
    S.current.env = env
    if method == "" then return body(env) end
    local f = method_of(body(env)(), env, method)
    if not f then
      return error(S.new_error("Invalid", id .. ': its source defines no function "' .. method .. '"'), 0)
    end
    return f
  end
  -- For checks: nil when the method is there, else the names of the functions that are.
  function proto.offers()
    if method == "" then return nil end
    local env = new_env()
    S.current.env = env
    local exports = body(env)()
    if method_of(exports, env, method) then return nil end
    local names = {}
    for _, scope in pairs({ env, type(exports) == "table" and exports or {} }) do
      for name, value in pairs(scope) do
        if type(name) == "string" and type(value) == "function" then names[#names + 1] = name end
      end
    end
    sort(names)
    return names
  end
  protos[id] = proto
  return proto
end

-- The compiled definition of a function that may run in the VM of its caller, or nil.
function S.inline_proto(id)
  local definition = definitions[id]
  return definition and definition.inline and (protos[id] or S.proto(id)) or nil
end
