-- Which of these orgs exist, and whether they are suspended. One probe of the key of the application's table for each.
select o.id::text, coalesce(lower({status}) = any(%(suspending)s::text[]), false)
from {table} o
where o.id = any(%(ids)s::text[])
