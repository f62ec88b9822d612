"""Flags of other systems, taken over: Unleash's exports and the files of flagd.

``schemas`` has their shapes, ``from_unleash`` and ``from_flagd`` say which of our flags decides
alike and what of theirs does not come along, and ``transfer`` of flags imports the result as any
other.
"""
