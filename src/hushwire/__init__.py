"""hushwire: a VoIP call-and-SMS processing core with privacy controls."""

__version__ = "0.1.0"
