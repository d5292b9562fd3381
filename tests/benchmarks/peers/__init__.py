"""What is timed, each in a process of its own: the engine, and whatever else does its work."""
