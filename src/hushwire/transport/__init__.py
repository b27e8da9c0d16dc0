"""SIP endpoints: the thin asyncio shell around the pure SIP engine."""
