"""The gateway role: SIP, call control and the control of media."""
