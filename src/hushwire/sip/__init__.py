"""SIP as pure functions: messages, transactions, dialogs, digest, registrar (RFC 3261). No sockets, no clock."""
