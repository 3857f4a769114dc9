-- Places in the order of their orgs, for a batch of several statements.
select jobs.enqueue_seqs_v1(%(count)s)
