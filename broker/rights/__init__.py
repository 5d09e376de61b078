"""The rights of persons (GDPR 15 to 21): what is held of whom, export, erasure, the clock of asks.

What must stay true: whatever names a person stands in the list in `held`; the export holds all of
it, and after an erasure nothing of it is left but the rows that the erasure named, each with its
ground.
"""
