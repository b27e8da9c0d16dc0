"""Where a call goes: internal destinations, the verdict, trunks and devices."""
