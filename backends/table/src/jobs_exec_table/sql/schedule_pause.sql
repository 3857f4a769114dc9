-- Pauses a schedule where it stands, or lets it go on at "next".
update jobs.job_schedules
set paused = %(paused)s, next_tick = case when %(paused)s then next_tick else %(next)s end
where id = %(id)s
returning 1
