"""Sources: where records come from, and the runs that read them in.

``locations`` finds a file, ``readers`` cuts it into batches, ``mapping`` turns rows into records
and compares them with what stands, ``profiles``, ``naming`` and ``drift`` tell how fields changed,
``service`` writes, ``queries`` reads.  One batch is one transaction: its rows, its counts and its
checkpoint stand together or not at all.
"""
