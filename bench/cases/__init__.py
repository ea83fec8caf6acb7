"""What is measured: a module for each op and for the whole step, each with `cases(shape, to)`.

`cases` yields a Case for all that is compared at one shape; `to` puts an array where it is worked on.
"""
