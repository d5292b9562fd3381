"""Bytes of an accepted format → one validated columnar table, its summary and digest; and back."""
