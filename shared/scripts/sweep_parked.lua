#!lua flags=allow-oom
-- Segments that waited for one that is rendered no more are due again.
-- Answers 1 while there are more of them.

return unpark_next() and 1 or 0
