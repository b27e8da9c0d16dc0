"""Inventory, erasure, receipts, audit: the agreement as operations."""
