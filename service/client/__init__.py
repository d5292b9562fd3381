"""The terminal's client: `thalweg fit`, `sweep`, `get` and `watch`, over HTTP like any other."""
