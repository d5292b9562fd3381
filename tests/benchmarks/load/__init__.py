"""A load of mixed good and bad traffic on the real service."""
