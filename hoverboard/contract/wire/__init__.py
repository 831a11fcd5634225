"""The gRPC services, and the code that is generated from them."""
