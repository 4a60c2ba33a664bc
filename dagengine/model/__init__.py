"""Value types: ids, states, operations, stored records, changes, events and outcomes."""
