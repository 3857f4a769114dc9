-- Gives back the running jobs of an executor whose attempts it does not know of; how many.
select jobs.executor_forget_v1(%(id)s, %(ids)s::uuid[], %(tokens)s::bigint[])
