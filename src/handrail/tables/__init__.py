"""Tables of tasks x methods x seeds: what must be made, and making it.

``plan`` turns a table's definition into stages, ``work`` makes one of them in a process of its own,
``workers`` are where such processes run, ``carry_out`` brings all stages about, ``board`` shows how
far they are.
"""
