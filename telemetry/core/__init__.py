"""Plain data and rules of telemetry; the standard library only."""
