"""Coverage-guided fuzzing: `make fuzz TARGET=h1_request TIME=60`. Inputs worth keeping are in corpus/<target>/."""
