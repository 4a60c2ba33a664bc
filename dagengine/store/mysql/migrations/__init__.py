"""The schema of a shared store: the steps that upgrade it, and the decisions about them."""
