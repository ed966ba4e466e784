"""What can be seen of a running proxy: numbers, access log, and what the control process itself reports."""
