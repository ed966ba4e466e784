"""Bare forwarding loops without any policy: what the kernel alone costs on this machine."""
