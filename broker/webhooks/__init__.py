"""Webhooks: what happens in a tenant's log is told to the tenant's own systems, and to chats.

    entry signed ─▶ delivery owed ─▶ sent ─▶ taken (2xx)
      └─▶ tried again, longer and longer ─▶ given up after 3 days ─▶ replayed by hand

What must stay true: nothing is skipped, for what is owed is found by position in the signed log,
not by a hint; the same delivery keeps its id however often it is sent; no personal value goes out
(they can be erased here, not there); the address and the secret lie sealed for the key port, bound
to this webhook, and requests go to public addresses alone (`broker.outgoing`).
"""
