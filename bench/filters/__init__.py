"""The same policies, as the author of a filter writes them for each proxy.  What they do is in bench/peers/peer.py."""
