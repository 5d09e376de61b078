"""What a tenant or a person agreed to: purposes, a ledger that only grows, why an act was allowed.

    (none) ─▶ given ─▶ renewed ─▶ …        given | renewed ─▶ withdrawn | lapsed ─▶ given ─▶ …

What must stay true: one consent is about one purpose; what was shown is known by its digest; the
last act on a purpose says whether a consent is live; an act is never changed. What a withdrawal
ends is `broker.lifecycle`'s to end, in the same transaction.
"""
