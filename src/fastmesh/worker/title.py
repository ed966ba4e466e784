"""What `ps`, `top` and `ss` show of a process instead of "python"."""


def name_process(name: str) -> None:
    """Name this process; the kernel keeps 15 bytes."""
    try:
        with open("/proc/self/comm", "w") as file:      # noqa: PTH123  (pathlib is not imported in a worker)
            file.write(name)
    except OSError:
        pass        # no /proc: nobody looks there either


def name_command(title: str) -> None:
    """Put a name in place of the command line: it may be longer than what `name_process` gives."""
    try:
        with open("/proc/self/stat", "rb") as file:      # noqa: PTH123
            # After the name in brackets, which may hold anything: fields 3 and up.
            fields = file.read().rpartition(b")")[2].split()
        start, end = int(fields[45]), int(fields[46])       # arg_start, arg_end
        with open("/proc/self/mem", "r+b", 0) as memory:        # noqa: PTH123
            memory.seek(start)
            memory.write(title.encode()[:end - start - 1].ljust(end - start, b"\0"))
    except (OSError, ValueError, IndexError):
        pass
