"""HTTP: one file a resource. The only place that knows FastAPI and turns errors into answers."""
