"""Healing policies that come with fastmesh, each written on nothing but the public API: take them as they are, or as
examples.

The configuration names them by the words on the left: `heal: {use: webhook, url: "https://ops.example.com/hook"}`.
"""

NAMES = {
    "webhook": "fastmesh.healers.webhook:Webhook",
}
