-- One delivery with its tries.
-- Keys: lib/outbox.lua
-- ARGV: delivery, tenant
-- Answers {fields, tries}, or nothing.

local d = load_delivery(ARGV[1])
if not d or d.tenant ~= ARGV[2] then return nil end
return delivery_record(d.id)
