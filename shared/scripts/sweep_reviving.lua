#!lua flags=allow-oom
-- More segments of jobs that run again are due.
-- Answers 1 while there are more of them.

return revive_next() and 1 or 0
