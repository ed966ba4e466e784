"""The Python side of a worker process: it imports the compiled core, msgpack and the bare minimum."""
