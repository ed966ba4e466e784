"""The configuration as the data plane reads it."""
