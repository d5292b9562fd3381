"""The workers: where fits are computed."""
