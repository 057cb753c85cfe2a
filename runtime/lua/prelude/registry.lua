-- The module `registry`: the entries of the node, its versions, and changes to it.
--
-- Reads are requests to the node, so a workflow's history keeps what they gave. Changes are for functions and
-- processes only.
local S = ...
local find, match, setmetatable, type = string.find, string.match, setmetatable, type
local math_type, next = math.type, next

local FIELDS = {} -- the private key of our objects' fields

local function object(mt, fields) return setmetatable({ [FIELDS] = fields }, mt) end

local function fields_of(value, name)
  if S.own_name(value) ~= name then
    S.raise("Invalid", "not a " .. name .. ": " .. S.show(value) .. "; call its methods with a colon")
  end
  return value[FIELDS]
end

local function ask(verb, ...) return S.ask("registry", verb, ...) end

-- An id as text: "ns:name", or a table {ns, name}.
local function id_of(where, value)
  if type(value) == "table" and not S.own_name(value) and type(value.ns) == "string" and type(value.name) == "string" then
    value = value.ns .. ":" .. value.name
  end
  if type(value) ~= "string" or not find(value, "^[^:]+:[^:]+$") then
    return nil, S.bad_argument(where, "id", "namespace:name", value)
  end
  return value
end

-- Versions ----------------------------------------------------------------------------------------

local version_methods = {}
local version_mt
version_mt = S.own_type("version", {
  __index = version_methods,
  __tostring = function(version) return "v" .. version[FIELDS].id end,
  __eq = function(a, b) return a[FIELDS].id == b[FIELDS].id end,
  __data = function(version) return version[FIELDS].id end,
})

local function version_of(fields, err)
  if fields then return object(version_mt, fields) end
  return nil, err
end

function version_methods.id(version) return fields_of(version, "version").id end
function version_methods.string(version) return "v" .. fields_of(version, "version").id end

function version_methods.previous(version)
  local number = fields_of(version, "version").previous
  if not number then return nil end
  return version_of(ask("version", number))
end

function version_methods.next(version) return version_of(ask("next", fields_of(version, "version").id)) end

-- The number of a version, given as an object or as itself.
local function number_of(where, version)
  if S.own_name(version) == "version" then return version[FIELDS].id end
  if math_type(version) == "integer" then return version end
  return nil, S.bad_argument(where, "version", "a version or its number", version)
end

-- Change sets -------------------------------------------------------------------------------------

local changes_methods = {}
local changes_mt = S.own_type("changes", { __index = changes_methods })

local function change(verb)
  return function(changes, entry)
    local fields, where = fields_of(changes, "changes"), "changes:" .. verb
    if type(entry) ~= "table" or S.own_name(entry) then return nil, S.bad_argument(where, "entry", "a table", entry) end
    local id, err = id_of(where, entry.id)
    if not id then return nil, err end
    local copy
    copy, err = S.try_copy(entry)
    if not copy then return nil, S.error_in(where, err) end
    copy.id = id
    fields.list[#fields.list + 1] = { verb, id, copy }
    return changes
  end
end

changes_methods.create = change("create")
changes_methods.update = change("update")

function changes_methods.delete(changes, id)
  local fields = fields_of(changes, "changes")
  local err
  id, err = id_of("changes:delete", type(id) == "table" and id.id or id)
  if not id then return nil, err end
  fields.list[#fields.list + 1] = { "delete", id }
  return changes
end

-- A list of {kind = "entry.create" …, entry = …}; of a deleted entry only the id is known.
function changes_methods.ops(changes)
  local ops = {}
  for i, item in next, fields_of(changes, "changes").list do
    ops[i] = { kind = "entry." .. item[1], entry = item[3] and S.copy(item[3]) or { id = item[2] } }
  end
  return ops
end

function changes_methods.apply(changes)
  local fields = fields_of(changes, "changes")
  local wrong = S.refuse_in_workflow("changes:apply")
  if wrong then return nil, wrong end
  return version_of(ask("apply", fields.base, fields.list))
end

local function changes_on(number) return object(changes_mt, { base = number, list = {} }) end

-- Snapshots ---------------------------------------------------------------------------------------

local function get(where, number, id)
  local err
  id, err = id_of(where, id)
  if not id then return nil, err end
  return ask("get", number, id)
end

local function find_entries(where, number, criteria)
  if criteria ~= nil and (type(criteria) ~= "table" or S.own_name(criteria)) then
    return nil, S.bad_argument(where, "criteria", "a table", criteria)
  end
  return ask("find", number, criteria or {})
end

local snapshot_methods = {}
local snapshot_mt = S.own_type("snapshot", { __index = snapshot_methods })

local function snapshot_of(fields, err)
  if fields then return object(snapshot_mt, fields) end
  return nil, err
end

function snapshot_methods.get(snapshot, id) return get("snapshot:get", fields_of(snapshot, "snapshot").id, id) end

function snapshot_methods.find(snapshot, criteria)
  return find_entries("snapshot:find", fields_of(snapshot, "snapshot").id, criteria)
end

function snapshot_methods.entries(snapshot) return ask("find", fields_of(snapshot, "snapshot").id, {}) end

function snapshot_methods.namespace(snapshot, namespace)
  local fields = fields_of(snapshot, "snapshot")
  if type(namespace) ~= "string" or namespace == "" then
    return nil, S.bad_argument("snapshot:namespace", "namespace", "a text", namespace)
  end
  return ask("find", fields.id, { namespace = namespace })
end

function snapshot_methods.version(snapshot) return object(version_mt, fields_of(snapshot, "snapshot")) end
function snapshot_methods.changes(snapshot) return changes_on(fields_of(snapshot, "snapshot").id) end

local function snapshot_at(where, version)
  local number, err = number_of(where, version)
  if not number then return nil, err end
  return snapshot_of(ask("version", number))
end

-- The history -------------------------------------------------------------------------------------

local history_methods = {}
local history_mt = S.own_type("history", { __index = history_methods })

function history_methods.versions(history)
  fields_of(history, "history")
  local list, err = ask("versions")
  if not list then return nil, err end
  for i = 1, #list do list[i] = object(version_mt, list[i]) end
  return list
end

function history_methods.get_version(history, version)
  fields_of(history, "history")
  local number, err = number_of("history:get_version", version)
  if not number then return nil, err end
  return version_of(ask("version", number))
end

function history_methods.snapshot_at(history, version)
  fields_of(history, "history")
  return snapshot_at("history:snapshot_at", version)
end

S.modules.registry = {
  get = function(id) return get("registry.get", nil, id) end,
  find = function(criteria) return find_entries("registry.find", nil, criteria) end,
  parse_id = function(text)
    local id, err = id_of("registry.parse_id", text)
    if not id then return nil, err end
    local namespace, name = match(id, "^([^:]+):([^:]+)$")
    return { ns = namespace, name = name }
  end,
  snapshot = function() return snapshot_of(ask("version")) end,
  snapshot_at = function(version) return snapshot_at("registry.snapshot_at", version) end,
  changes = function()
    local version, err = ask("version")
    if not version then return nil, err end
    return changes_on(version.id)
  end,
  current_version = function() return version_of(ask("version")) end,
  history = function() return object(history_mt, {}) end,
  -- Put a version in force again.
  apply_version = function(version)
    local number, err = number_of("registry.apply_version", version)
    if not number then return nil, err end
    local wrong = S.refuse_in_workflow("registry.apply_version")
    if wrong then return nil, wrong end
    return version_of(ask("apply_version", number))
  end,
}
