"""Requests for a cluster that another controller owns (docs/decisions/0022)."""
