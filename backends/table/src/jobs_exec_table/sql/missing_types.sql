-- Which types jobs are held for, because no live executor carries them. Plan: the index of held jobs alone.
select q.type::text, count(*)
from jobs.jobs_queue q
where q.state = 'held' and q.reason = 'type'
group by q.type
order by 2 desc, 1
limit 20
