"""How fast this machine trains and samples, from a measurement of a few seconds."""
