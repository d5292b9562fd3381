"""The contract's answers, for the OpenAPI document; what goes out is tested against them."""
