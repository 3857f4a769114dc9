-- Announces an executor and what it carries: types and schedules.
select jobs.executor_join_v1(
    %(id)s, %(name)s, %(lease)s, %(queues)s::text[], %(types)s::text[], %(type_queues)s::text[],
    %(identities)s::text[], %(max_attempts)s::smallint[], %(schedules)s::text[])
