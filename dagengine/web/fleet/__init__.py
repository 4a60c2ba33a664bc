"""The pages of the service: all clusters and controllers."""
