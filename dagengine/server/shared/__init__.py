"""A controller whose clusters are in a shared store: it runs those that it owns."""
