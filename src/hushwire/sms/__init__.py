"""Text messages: their text, and the protocol that carriers speak. Pure."""
