"""Rows: asyncpg, SQL files, migrations. Only ciphertext of personal columns reaches it."""
