-- As check_orgs, for ids of type uuid. What does not look like one is left out before it is cast: such an org is
-- unknown, not an error for the whole batch. CASE decides the order of evaluation, a WHERE would not.
select o.id::text, coalesce(lower({status}) = any(%(suspending)s::text[]), false)
from {table} o
where o.id = any(array(
    select case when u.id ~ '^[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}$' then u.id::uuid end
    from unnest(%(ids)s::text[]) as u(id)
))
