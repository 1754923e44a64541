-- Health of an McpServer in Argo CD, with the reason and message of the condition that decides it.
-- README.md says how to install it. docs/gitops.md has the table of what each status becomes.
local status = obj.status or {}
if status.observedGeneration ~= obj.metadata.generation then
  return {status = "Progressing", message = "the operator has not processed this generation yet"}
end

local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end
local function health(code, condition)
  return {status = code, message = condition.reason .. ": " .. condition.message}
end
local function is_true(condition)
  return condition ~= nil and condition.status == "True"
end

local ready = conditions.Ready
if is_true(conditions.Stalled) then
  return health("Degraded", conditions.Stalled)
elseif is_true(conditions.Reconciling) then
  return health("Progressing", conditions.Reconciling)
elseif ready == nil then
  return {status = "Progressing", message = "the object has no condition Ready yet"}
elseif ready.status == "True" then
  return health("Healthy", ready)
elseif ready.reason == "Suspended" then
  return health("Suspended", ready)
elseif ready.status == "False" then
  return health("Degraded", ready)
end
return health("Progressing", ready)
