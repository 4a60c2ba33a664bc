"""A store in an OceanBase database, which several controllers share: guarded packets."""
