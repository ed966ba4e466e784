"""The process that isolated filters run in: asyncio, ordinary packages, and exchanges made of what a worker sends."""
