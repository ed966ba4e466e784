"""What stands on either side of a proxy: origins that answer and programs that ask."""
