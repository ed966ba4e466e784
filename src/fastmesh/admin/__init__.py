"""The door for operators: a small HTTP server in the control process."""
