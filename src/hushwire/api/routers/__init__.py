"""One router a resource; each only translates between HTTP and a service."""
