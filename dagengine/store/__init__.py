"""Durable storage of DAGs."""
