"""What `ps`, `top` and `ss` show of a process instead of "python"."""


def name_process(name: str) -> None:
    """Name this process; the kernel keeps 15 bytes."""
    try:
        with open("/proc/self/comm", "w") as file:      # noqa: PTH123  (pathlib is not imported in a worker)
            file.write(name)
    except OSError:
        pass        # no /proc: nobody looks there either
