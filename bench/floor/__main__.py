"""`python -m bench.floor io_uring|epoll PORT ORIGIN_PORT`: run one floor in the foreground."""

import sys
from importlib import import_module


def main() -> None:
    engine, port, origin_port = sys.argv[1:]
    module = import_module({"io_uring": "bench.floor.floor_uring", "epoll": "bench.floor.floor_epoll"}[engine])
    module.serve(int(port), int(origin_port))


if __name__ == "__main__":
    main()
