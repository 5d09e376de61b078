"""The transparency log of each tenant: integrating, proving, signing and verifying it.

`merkle`, `note`, `dsse`, `bundle` and `verify` are pure: bytes in, bytes or a verdict out. They
read no database, no clock and no network, so that a customer can run the same checks offline (G10).
"""
