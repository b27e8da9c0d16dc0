"""SMPP 3.4, the side of an ESME: PDUs as frozen values, delivery receipts, and the session as a machine in virtual time."""
