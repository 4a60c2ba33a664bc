"""Values: ids, states, what an author declares, what is stored, how an attempt ended."""
