"""Discovery policies that come with fastmesh, each written on nothing but the public API: take them as they are, or as
examples.

The configuration names them by the words on the left: `endpoints: {use: file, path: hosts.txt}`.
"""

NAMES = {
    "dns": "fastmesh.discovery.dns:Dns",
    "file": "fastmesh.discovery.file:File",
}
