"""The driver: asks an exchange's filters, in order, what is to become of it."""
