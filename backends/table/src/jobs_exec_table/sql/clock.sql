-- The business clock.
select jobs.clock()
