#!/usr/bin/python3
"""Becomes the server, with some of its descriptors already taken: CROWDED is "LIMIT TAKEN PROGRAM".

So a server that keeps its connections far enough below the file limit runs out of descriptors all
the same. Lowering the limit of a running one would not do: an armed accept of io_uring keeps the
limit that held when it was armed.
"""
import os
import resource
import sys

limit, taken, program = os.environ.pop('CROWDED').split(' ', 2)
resource.setrlimit(resource.RLIMIT_NOFILE, (int(limit), int(limit)))
null = os.open('/dev/null', os.O_RDONLY)
for _ in range(int(taken)):
    os.set_inheritable(os.dup(null), True)
os.execv(program, [program, *sys.argv[1:]])
