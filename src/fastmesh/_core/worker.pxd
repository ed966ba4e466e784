"""The worker: one thread, one loop, everything below put together."""
