"""Tables: formats, refusals, digests, generators."""
