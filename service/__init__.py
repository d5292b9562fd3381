"""The fit service: contract, storage of record, and HTTP edge."""
