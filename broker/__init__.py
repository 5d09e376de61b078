"""Support-access broker: who may see a tenant's data, for how long, and proof that it ended."""

__version__ = "0.1.0"
