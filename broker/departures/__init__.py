"""A customer leaves: everything ends, is closed once nothing is alive, kept for the term, erased.

    announced ─its day─▶ closing ─nothing is alive─▶ closed ─legal term─▶ erasing ─told─▶ erased
        └─ taken back ─▶ cancelled

At its day everything ends at once, and nothing begins any more (`tenants.check_not_left`, and a
trigger). Closed, its people still read, verify and export. The term stands in the retention
schedule (`departed`) and runs only where a privacy officer confirmed that; then names, texts,
addresses and the openings of its log go, a signed statement says so, and who got it goes last.
"""
