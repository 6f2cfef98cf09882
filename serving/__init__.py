"""The gateway's dealings with the world: connections, turns, metrics, processes."""
