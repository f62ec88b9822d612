"""Jobs: rows that say what is to be done, and that no crash loses or leaves undecided.

The queue only carries ids, the table is the truth.  ``lifecycle`` says which state follows which,
``registry`` which types there are, ``service`` takes and cancels jobs, ``attempts`` is what a
worker writes, ``dispatch`` what every consumer's beat does.
"""
