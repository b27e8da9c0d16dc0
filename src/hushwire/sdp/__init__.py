"""SDP and offer/answer as pure functions (RFC 8866, RFC 3264, RFC 4568)."""
