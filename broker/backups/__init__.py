"""Regular backups: runs with a login of their own, what they report, and restores that are asked.

Declarations, and the consent to each, are `consents.backup_plans`'s and the ledger's.
"""
