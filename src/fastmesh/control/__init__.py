"""The control process: it compiles, supervises, hands out snapshots, and answers operators."""
