"""Copies of a tenant's database: made, sealed, loaded, used, destroyed, certified.

`ordering` and `states` say what may be asked, `making` makes a copy step by step, `destroying` ends
it whatever fails on the way, `looks` finds out what is still there, `certificates` says so, signed.
"""
