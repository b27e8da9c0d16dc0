"""Keys and sealing: root key, buckets, data keys, sealed columns, blind indexes, object stores."""
