"""FastAPI routers: thin, typed, RFC 9457 problems."""
