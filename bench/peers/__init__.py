"""How each peer does the workloads, one file a peer, the way its own documentation recommends."""
