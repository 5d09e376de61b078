"""What leaves the broker to somebody who is neither the customer nor the vendor.

    consent to a named recipient ─┐
                                  ├─▶ handover (what, to whom, digest) ─▶ the customer's log
    order of an authority, by two ┘        silent order: told when its silence is over

What must stay true: nothing is handed over without a live consent of the organisation to that
recipient, or an order that two privacy officers stand for; each handover is written down in the
transaction that makes the document; the customer is told, at the latest when the law lets us.
"""
