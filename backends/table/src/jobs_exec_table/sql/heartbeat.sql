-- Renews an executor's lease; false when it has been removed.
select jobs.executor_heartbeat_v1(%(id)s)
