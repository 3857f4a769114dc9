-- The next orgs by id, suspended or not. A range of the key of the application's table.
select o.id::text, coalesce(lower({status}) = any(%(suspending)s::text[]), false)
from {table} o
where %(after)s::{key} is null or o.id > %(after)s::{key}
order by o.id
limit %(limit)s
