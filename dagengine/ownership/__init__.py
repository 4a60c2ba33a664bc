"""Which controller runs a cluster's DAGs, on a store that several controllers share."""
