"""The world around the broker, for `make demo` and the tests: tenants, tickets, mails, evidence.

Everything here is invented, and nothing here is needed in production.
"""
