"""Reports: files that sum up some days, written by a job and kept for a while.

``queries`` gathers figures, ``documents`` turns them into text, ``files`` keeps what was written.
"""
